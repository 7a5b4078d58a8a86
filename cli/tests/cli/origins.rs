//! The origins: shown, replaced, added to, and never over somebody else's change.

use serde_json::json;
use wcdn_proto::pb::edge::v1::{Origin, OriginPool};

use super::{desk::Desk, program::Shell};

fn origin(name: &str, trusted: bool) -> Origin {
    Origin { name: name.into(), url: format!("https://{name}.example"), trusted }
}

async fn desk() -> Desk {
    let desk = Desk::start().await;
    desk.state().pool = OriginPool { revision: 3, origins: vec![origin("a", true)] };
    desk
}

fn names(desk: &Desk) -> Vec<String> {
    desk.state().pool.origins.iter().map(|origin| origin.name.clone()).collect()
}

#[tokio::test]
async fn origins_are_shown_with_their_revision() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let expected = "\
NAME  TRUSTED  URL
a     yes      https://a.example
1 origin; revision 3
";
    assert_eq!(shell.run("origins").await.done(), expected);
    assert_eq!(shell.run("origins get").await.done(), expected);
    let document = json!({
        "revision": 3,
        "origins": [{ "name": "a", "url": "https://a.example", "trusted": true }],
    });
    assert_eq!(shell.run("origins --json").await.json(), document);
    desk.state().pool = OriginPool::default();
    let none = "none were set; every node asks those of its own configuration\n";
    assert_eq!(shell.run("origins").await.done(), none);
}

#[tokio::test]
async fn one_is_added_and_removed() {
    let desk = desk().await;
    let shell = Shell::of(&desk);
    let printed = shell.run("origins add b https://b.example --trusted").await.done();
    assert_eq!(printed, "change of the origins is committed at 1:42 as chg_1\n");
    assert_eq!(desk.state().pool.origins, [origin("a", true), origin("b", true)]);
    let printed = shell.run("origins remove a --json").await.json();
    assert_eq!(printed["change"]["kind"], "origins");
    assert_eq!(printed["pool"]["revision"], 5);
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
async fn a_change_that_came_between_is_not_undone() {
    let desk = desk().await;
    desk.state().has_rival = true;
    let told = Shell::of(&desk).run("origins add b https://b.example").await.failed(1);
    assert!(told.contains("(ABORTED); somebody else changed it meanwhile"), "{told}");
    assert_eq!(names(&desk), ["a"]);
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
