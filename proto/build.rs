//! Makes Rust of the `.proto` files, without a `protoc`.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 7] = [
    "wcdn/event/v1/event.proto",
    "wcdn/gossip/v1/gossip.proto",
    "wcdn/edge/v1/edge.proto",
    "wcdn/admin/v1/admin.proto",
    "wcdn/admin/v1/keys.proto",
    "wcdn/admin/v1/audit.proto",
    "wcdn/admin/v1/hooks.proto",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo gives a folder"));
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"]).unwrap_or_else(|error| panic!("{error:?}"));
    fs::write(out.join("descriptors.bin"), files.encode_to_vec()).expect("the folder is writable");
    tonic_prost_build::configure().bytes(".").compile_fds(files).expect("the files make sense");
}
