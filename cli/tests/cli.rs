//! The program as operators run it, against a control plane whose answers the tests know.

mod cli {
    mod changes;
    mod desk;
    mod events;
    mod failures;
    mod lists;
    mod origins;
    mod pins;
    mod preload;
    mod program;
    mod terminal;
    mod waiting;
}
