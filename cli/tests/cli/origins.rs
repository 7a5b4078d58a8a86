//! The origins: shown, replaced, added to, and never over somebody else's change.

use serde_json::json;
use wcdn_proto::pb::edge::v1::{Origin, OriginPool};

use super::{desk::Desk, program::Shell};

fn origin(name: &str, trusted: bool) -> Origin {
    let url = format!("https://{name}.example");
    Origin { name: name.into(), url, trusted, ..Origin::default() }
}

fn pool(origins: Vec<Origin>) -> OriginPool {
    OriginPool { revision: 3, origins, ..OriginPool::default() }
}

async fn desk() -> Desk {
    let desk = Desk::start().await;
    desk.state().pool = pool(vec![origin("a", true)]);
    desk
}

fn names(desk: &Desk) -> Vec<String> {
    desk.state().pool.origins.iter().map(|origin| origin.name.clone()).collect()
}

#[tokio::test]
async fn origins_are_printed_with_their_revision() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let expected = "\
NAME  KIND        TRUSTED  WEIGHT  EJECTED  URL
a     aggregator  yes      100     no       https://a.example
1 origin; revision 3
";
    assert_eq!(shell.run("origins get").await.done(), expected);
    let document = json!({
        "revision": 3,
        "origins": [{ "name": "a", "url": "https://a.example", "trusted": true }],
    });
    assert_eq!(shell.run("origins get --json").await.json(), document);
    desk.state().pool = OriginPool::default();
    let none = "none were set; every node asks those of its own configuration\n";
    assert_eq!(shell.run("origins get").await.done(), none);
}

#[tokio::test]
async fn one_is_added_and_removed() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let printed = shell.run("origins add b https://b.example --trusted --weight 7").await.done();
    assert_eq!(printed, "change of the origins is committed at 1:42 as chg_1\n");
    let heavy = Origin { weight: 7, ..origin("b", true) };
    assert_eq!(desk.state().pool.origins, [origin("a", true), heavy]);
    shell.run("origins add a https://p.example --publisher").await.done();
    assert_eq!(desk.state().pool.publishers[0].url, "https://p.example");
    let printed = shell.run("origins remove a --json").await.json();
    assert_eq!(printed["change"]["kind"], "origins");
    assert_eq!(printed["pool"]["revision"], 6);
    assert_eq!(names(&desk), ["b"]);
}

#[tokio::test]
async fn the_first_that_is_added_comes_with_a_warning() {
    let desk = Desk::start().await;
    let ran = Shell::of(&desk).run("origins add b https://b.example").await;
    let told = "wcdn: none were set until now: nodes leave those of their own configuration, \
                and ask only b\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), told));
    assert_eq!(names(&desk), ["b"]);
}

#[tokio::test]
async fn what_was_printed_and_edited_is_set_again() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let printed = shell.run("origins get --json").await.done();
    shell.file("pool.json", &printed.replace("\"a\"", "\"z\""));
    desk.tell(vec![]);
    let set = shell.run("origins set pool.json --wait").await.done();
    assert_eq!(set, "change of the origins is committed at 1:42 as chg_1\n0 of 0 nodes\n");
    assert_eq!(names(&desk), ["z"]);
    let again = shell.run("origins set pool.json").await.failed(1);
    assert_eq!(
        again,
        format!(
            "the change of the origins failed at {}: revision 3 was replaced, the present one is 4 \
             (ABORTED); somebody else changed it meanwhile: read it again, and make the change anew",
            desk.url()
        )
    );
}

#[tokio::test]
async fn one_is_ejected_weighed_trusted_and_returned() {
    let desk = desk().await;
    desk.state().pool = pool(vec![origin("a", true), origin("b", false)]);
    let shell = Shell::of(&desk);
    shell.run("origins weight b 250").await.done();
    shell.run("origins trust b").await.done();
    shell.run("origins trust a --off").await.done();
    shell.run("origins eject b --reason slow").await.done();
    let b = Origin { weight: 250, ejected: true, reason: "slow".into(), ..origin("b", true) };
    assert_eq!(desk.state().pool.origins, [origin("a", false), b.clone()]);
    let printed = shell.run("origins get --json").await.json();
    assert_eq!(
        printed["origins"][1],
        json!({
            "name": "b", "url": "https://b.example", "trusted": true, "weight": 250,
            "ejected": true, "reason": "slow",
        })
    );
    shell.run("origins return b").await.done();
    let returned = Origin { ejected: false, reason: String::new(), ..b };
    assert_eq!(desk.state().pool.origins[1], returned);
    desk.state().pool.origins[1].automatic = true;
    shell.run("origins eject b").await.done();
    let taken_over = desk.state().pool.origins[1].clone();
    assert!(!taken_over.automatic && taken_over.reason == "by hand", "{taken_over:?}");
}

#[tokio::test]
async fn a_change_that_came_between_is_not_undone_and_one_of_one_origin_is_made_anew() {
    let desk = desk().await;
    desk.state().rivals = 3;
    let shell = Shell::of(&desk);
    shell.run("origins add b https://b.example").await.done();
    assert_eq!((names(&desk), desk.state().pool.revision), (vec!["a".into(), "b".into()], 7));
    desk.state().rivals = usize::MAX;
    let told = shell.run("origins remove b").await.failed(1);
    assert!(told.contains("(ABORTED); somebody else changed it meanwhile"), "{told}");
    assert_eq!(names(&desk), ["a", "b"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_not_sent() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    shell.file("list.json", "[]");
    shell.file("extra.json", r#"{"revision":3,"origins":[],"more":1}"#);
    let expected = [
        ("add a https://c.example", 1, "origin a is there already, at https://a.example"),
        ("remove b", 1, "there is no origin b; `wcdn origins` lists them"),
        ("remove a", 1, "a is the only origin, and there must be one; add another first"),
        ("eject a", 1, "a is the only origin, and there must be one; add another first"),
        ("return a --publisher", 1, "there is no origin a; `wcdn origins` lists them"),
        ("refresh missing.json", 2, "cannot read origins from missing.json: "),
        ("add c c.example", 2, "\"c.example\" is no origin: write http://host or https://host"),
        ("add c ftp://c", 2, "\"ftp://c\" is no origin"),
        ("set list.json", 2, "list.json is not what `wcdn origins get --json` prints: "),
        ("set extra.json", 2, "extra.json is not what `wcdn origins get --json` prints: "),
        ("set missing.json", 2, "cannot read origins from missing.json: "),
    ];
    for (line, code, text) in expected {
        let told = shell.run(&format!("origins {line}")).await.failed(code);
        assert!(told.starts_with(text), "{line}: {told}");
    }
    assert_eq!(desk.state().asked, Vec::<String>::new());
}
