//! Hooks, as operators make them; what comes through them is in `rest`.

use tonic::Code;
use wcdn_proto::pb::admin::v1::{
    CreateHookRequest, DeleteHookRequest, ListHooksRequest, hook_service_client::HookServiceClient,
};

use crate::{
    keys::{make, scoped, with_key},
    stage::{Stage, reason},
};

fn named(name: &str) -> CreateHookRequest {
    CreateHookRequest { name: name.to_owned(), ..CreateHookRequest::default() }
}

#[tokio::test]
async fn a_hook_is_made_listed_and_ended() {
    let stage = Stage::begin().await;
    let mut hooks = HookServiceClient::new(stage.channel());
    let made = hooks.create_hook(stage.keyed(named("deploy"))).await.unwrap().into_inner();
    assert!(made.path.starts_with("/hooks/") && made.path.len() == 55, "{}", made.path);
    assert!(made.secret.starts_with("whsec_"), "{}", made.secret);
    let taken = hooks.create_hook(stage.keyed(named("deploy"))).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken)), (Code::AlreadyExists, "HOOK_NAME_TAKEN".into()));
    let list = hooks.list_hooks(stage.keyed(ListHooksRequest {})).await.unwrap().into_inner();
    let [hook] = &list.hooks[..] else { panic!("{list:?}") };
    assert_eq!((hook.name.as_str(), hook.created_by.as_str()), ("deploy", "first"));
    let delete = DeleteHookRequest { id: hook.id.clone() };
    hooks.delete_hook(stage.keyed(delete.clone())).await.unwrap();
    let gone = hooks.delete_hook(stage.keyed(delete)).await.unwrap_err();
    assert_eq!(reason(&gone), "HOOK_UNKNOWN");
}

#[tokio::test]
async fn nobody_makes_a_hook_that_may_do_more_than_they() {
    let stage = Stage::begin().await;
    let (_, text) = make(&stage, "a", scoped(&["hooks:admin", "cache:purge"])).await.unwrap();
    let mut hooks = HookServiceClient::new(stage.channel());
    assert!(hooks.create_hook(with_key(&text, named("some"))).await.is_ok());
    let all = CreateHookRequest { all: true, ..named("all") };
    let refused = hooks.create_hook(with_key(&text, all)).await.unwrap_err();
    assert_eq!(reason(&refused), "SCOPE_MISSING");
}
