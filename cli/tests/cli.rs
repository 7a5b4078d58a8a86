//! The program as operators run it, against a control plane whose answers the tests know.

mod cli {
    mod changes;
    mod desk;
    mod desk_origins;
    mod desk_state;
    mod events;
    mod failures;
    mod lists;
    mod origin_health;
    mod origins;
    mod pins;
    mod preload;
    mod program;
    mod terminal;
    mod waiting;
}
