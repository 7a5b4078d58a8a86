use super::*;

fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn applied(after: Option<Time>) -> Option<Confirmation> {
    Some(Confirmation::Applied { after })
}

#[test]
fn a_step_confirms_everything_below_it_and_nothing_above() {
    let (mut commits, mut steps) = (Commits::default(), Steps::default());
    for seq in 1..=9 {
        commits.publish(at(seq), at(seq), ms(seq));
    }
    steps.note(at(4), ms(10));
    steps.note(at(3), ms(11));
    steps.note(at(7), ms(20));
    assert_eq!(steps.confirmation(at(3), &commits), applied(Some(ms(7))));
    assert_eq!(steps.confirmation(at(5), &commits), applied(Some(ms(15))));
    assert_eq!(steps.confirmation(at(8), &commits), None);
}

#[test]
fn what_another_issuer_published_is_applied_at_a_time_that_nobody_knows() {
    let (mut commits, mut steps) = (Commits::default(), Steps::default());
    commits.hear(at(5), ms(1));
    commits.publish(at(3), at(3), ms(2));
    commits.publish(at(6), at(6), ms(3));
    steps.note(at(6), ms(10));
    assert_eq!(steps.confirmation(at(3), &commits), applied(Some(ms(8))));
    assert_eq!(steps.confirmation(at(5), &commits), applied(None));
    assert_eq!(steps.confirmation(at(6), &commits), applied(Some(ms(7))));
    commits.publish(at(5), at(5), ms(4));
    assert_eq!(steps.confirmation(at(5), &commits), applied(Some(ms(6))));
}

#[test]
fn what_was_published_before_an_issuer_began_has_no_time() {
    let (mut commits, mut steps) = (Commits::default(), Steps::default());
    commits.publish(at(51), at(53), ms(100));
    steps.note(at(53), ms(110));
    assert_eq!(steps.confirmation(at(50), &commits), applied(None));
    assert_eq!(steps.confirmation(at(51), &commits), applied(Some(ms(10))));
}

#[test]
fn what_is_forgotten_is_applied_at_a_time_that_nobody_knows() {
    let (mut commits, mut steps) = (Commits::default(), Steps::default());
    for seq in 1..=MAX_STEPS as u64 + 5 {
        commits.publish(at(seq), at(seq), ms(0));
        steps.note(at(seq), ms(seq));
    }
    assert_eq!(steps.confirmation(at(2), &commits), applied(None));
    assert_eq!(steps.confirmation(at(6), &commits), applied(Some(ms(6))));
}

#[test]
fn commits_are_remembered_within_their_bound() {
    let mut commits = Commits::default();
    for seq in 1..=MAX_COMMITS as u64 + 1 {
        commits.publish(at(seq), at(seq), ms(seq));
    }
    assert_eq!(commits.0.len(), MAX_COMMITS);
    assert_eq!(commits.published(at(1)), None);
    assert_eq!(commits.published(at(2)), Some(ms(2)));
    assert_eq!(commits.at(at(1)), Some(ms(2)));
    assert_eq!(commits.at(at(MAX_COMMITS as u64 + 2)), None);
}
