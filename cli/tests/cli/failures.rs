//! Exit codes, and the one line that tells what, where and what to do.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{
    desk::{Desk, KEY, READER},
    program::{Shell, id},
};

#[tokio::test]
async fn wrong_ids_are_all_named_before_anything_is_sent() {
    let shell = Shell::bare();
    shell.file("ids.txt", &format!("{}\nnonsense\n", id(1)));
    let told = shell.run("purge short --from-file ids.txt --all").await;
    assert_eq!(told.code, Some(2), "everything and something: {}", told.stderr);
    let told = shell.run("purge short --from-file ids.txt").await.failed(2);
    assert_eq!(
        told,
        "2 of 3 ids are wrong, nothing was sent: \"short\" (a blob id has 43 characters, not 5); \
         line 2, \"nonsense\" (a blob id has 43 characters, not 8)"
    );
    let told = shell.run("block").await.failed(2);
    assert_eq!(told, "no ids: name some, or a file by --from-file");
    let told = shell.run("purge --from-file missing.txt").await.failed(2);
    assert!(told.starts_with("cannot read ids from missing.txt: No such file"), "{told}");
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    let shell = Shell::bare().set("WCDN_API_KEY", KEY);
    for line in ["", "purge --al", "events --after 1", "origins add A http://a", "explain x"] {
        let ran = shell.run(line).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{line}: {}", ran.stderr);
    }
    assert_eq!(shell.run("status --api-key x").await.code, Some(2), "no key on a command line");
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let desk = Desk::start().await;
    let shell = Shell::bare().set("WCDN_ENDPOINT", desk.url());
    let told = shell.run("barrier").await.failed(2);
    assert_eq!(told, "no API key: set WCDN_API_KEY, or name a file by --api-key-file");
    shell.file("key", &format!("{KEY}\n"));
    shell.run("barrier --api-key-file key").await.done();
}

#[tokio::test]
async fn an_unknown_key_and_one_without_the_scope_are_refused_with_3() {
    let desk = Desk::start().await;
    let url = desk.url();
    let shell = Shell::bare().set("WCDN_ENDPOINT", url.clone());
    let wrong = shell.set("WCDN_API_KEY", "wcdn_wrong");
    assert_eq!(
        wrong.run("nodes").await.failed(3),
        format!(
            "the list of nodes failed at {url}: the API key is unknown (UNAUTHENTICATED); \
             check WCDN_API_KEY or --api-key-file"
        )
    );
    let reader = wrong.set("WCDN_API_KEY", READER);
    assert_eq!(
        reader.run("purge --all").await.failed(3),
        format!(
            "purge failed at {url}: the API key lacks the scope cache:write \
             (PERMISSION_DENIED); use a key that has the scope"
        )
    );
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_exits_with_4() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().expect("a bound socket has an address");
    drop(free);
    let shell = Shell::bare().set("WCDN_API_KEY", KEY);
    let told = shell.run(&format!("status --endpoint http://{address}")).await.failed(4);
    assert!(told.starts_with(&format!("cannot reach http://{address}: ")), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
    assert!(told.ends_with("it is set by --endpoint or WCDN_ENDPOINT"), "{told}");
}

#[tokio::test]
async fn one_that_never_answers_exits_with_5() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("it is bound"));
    let shell = Shell::bare().set("WCDN_API_KEY", KEY).set("WCDN_ENDPOINT", url.clone());
    for (line, what) in [("status", "status"), ("receipt x", "the receipt")] {
        let told = shell.run(&format!("{line} --call-timeout 200ms")).await.failed(5);
        let expected = format!(
            "{url} did not answer within 200ms to {what}; try again, or allow more by --call-timeout"
        );
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn details_of_a_refusal_are_shown() {
    let desk = Desk::start().await;
    let mut details = ErrorDetails::new();
    details.set_bad_request(vec![FieldViolation::new("ids", "more than a purge may name")]);
    details.set_error_info("TOO_MANY_IDS", "wcdn", std::collections::HashMap::new());
    details.set_retry_info(Some(Duration::from_secs(3)));
    let status = Status::with_error_details(Code::ResourceExhausted, "too many", details);
    desk.state().refusal = Some(status);
    assert_eq!(
        Shell::of(&desk).run("barrier").await.failed(1),
        format!(
            "barrier failed at {}: too many (RESOURCE_EXHAUSTED); ids: more than a purge may name; \
             reason TOO_MANY_IDS; may be tried again in 3s",
            desk.url()
        )
    );
}

#[tokio::test]
async fn a_profile_tells_where_and_with_which_key() {
    let desk = Desk::start().await;
    let shell = Shell::bare().set("WCDN_ENDPOINT", "http://192.0.2.1:1");
    let text = format!("[profile.test]\nendpoint = \"{}\"\napi_key_file = \"key\"\n", desk.url());
    shell.file(".config/wcdn/config.toml", &text);
    shell.file(".config/wcdn/key", KEY);
    shell.run("barrier --profile test").await.done();
    let told = shell.run("barrier --profile prod").await.failed(2);
    assert!(told.starts_with("there is no profile \"prod\" in "), "{told}");
}

#[tokio::test]
async fn an_encrypted_control_plane_needs_a_certificate_that_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let desk = Desk::encrypted(&made.cert.pem(), &made.signing_key.serialize_pem()).await;
    let url = format!("https://localhost:{}", desk.address.port());
    let shell = Shell::bare().set("WCDN_ENDPOINT", url.clone()).set("WCDN_API_KEY", KEY);
    let told = shell.run("barrier").await.failed(4);
    assert!(told.starts_with(&format!("cannot reach {url}: ")), "{told}");
    assert!(told.contains("certificate") && told.ends_with("name it by --ca-file"), "{told}");
    shell.file("ca.pem", &made.cert.pem());
    shell.run("barrier --ca-file ca.pem").await.done();
    shell.file("empty.pem", "");
    let told = shell.set("WCDN_CA_FILE", "empty.pem").run("barrier").await.failed(2);
    assert_eq!(told, "empty.pem holds no certificates in PEM that can be used");
}

#[tokio::test]
async fn completions_need_neither_key_nor_control_plane() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Shell::bare().run(&format!("completions {shell}")).await.done();
        assert!(script.contains("idempotency-token"), "{shell}");
    }
}

#[tokio::test]
async fn help_documents_exit_codes_and_json() {
    let shell = Shell::bare();
    let help = shell.run("--help").await.done();
    assert!(help.contains("130  interrupted") && help.contains("WCDN_API_KEY"), "{help}");
    for command in [
        "purge", "block", "unblock", "blocks", "pin", "unpin", "pins", "preload", "barrier",
        "receipt", "nodes", "origins", "events",
    ] {
        let help = shell.run(&format!("{command} --help")).await.done();
        assert!(help.contains("JSON"), "{help}");
    }
}
