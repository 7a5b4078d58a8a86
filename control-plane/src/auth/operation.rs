//! What may be asked for, and what scopes admit to it.

use wcdn_proto::{Scope, Scopes};

macro_rules! operations {
    ($($name:ident $(: $($scope:ident)|+)?,)*) => {
        /// A call, by the name that it has in `wcdn.admin.v1`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Operation { $($name,)* }

        impl Operation {
            /// Each.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The one of this name.
            pub(crate) fn of_method(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }

            /// Its name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Any of these admits to it; none if every key does.
            pub(crate) fn scopes(self) -> &'static [Scope] {
                match self { $(Self::$name => &[$($(Scope::$scope),+)?],)* }
            }
        }
    };
}

operations! {
    Purge: CachePurge,
    Block: BlocksWrite,
    Unblock: BlocksWrite,
    ListBlocks: BlocksRead,
    Pin: PinsWrite,
    Unpin: PinsWrite,
    ListPins: PinsRead,
    WatchPins: PinsRead,
    Preload: CachePreload,
    WatchPreload: CachePreload | CacheRead,
    Barrier: NodesAdmin,
    GetReceipt: CacheRead | CachePurge | BlocksWrite | PinsWrite | OriginsWrite | KeysAdmin | NodesAdmin,
    WatchReceipt: CacheRead | CachePurge | BlocksWrite | PinsWrite | OriginsWrite | KeysAdmin | NodesAdmin,
    ListNodes: NodesRead,
    GetOrigins: OriginsRead,
    SetOrigins: OriginsWrite,
    GetOriginHealth: OriginsRead,
    ProbeOrigins: OriginsWrite,
    RefreshOrigins: OriginsWrite,
    TailEvents: EventsRead,
    Explain: CacheRead,
    GetStatus: NodesRead,
    CreateKey: KeysAdmin,
    ListKeys: KeysAdmin,
    GetKey: KeysAdmin,
    UpdateKey: KeysAdmin,
    RotateKey: KeysAdmin,
    RevokeKey: KeysAdmin,
    GetCaller,
    ListAudit: AuditRead,
    ExportAudit: AuditRead,
    CreateHook: HooksAdmin,
    ListHooks: HooksAdmin,
    DeleteHook: HooksAdmin,
}

impl Operation {
    /// Whether scopes admit to it.
    pub(crate) fn admits(self, scopes: Scopes) -> bool {
        let needed = self.scopes();
        needed.is_empty() || needed.iter().any(|scope| scopes.has(*scope))
    }

    /// Whether a key that is restricted to vaults may ask for it: what it touches has no vault yet.
    pub(crate) fn is_within_vaults(self) -> bool {
        matches!(self, Self::GetCaller)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    #[test]
    fn every_call_has_an_operation_and_every_operation_a_call() {
        let files = prost_types::FileDescriptorSet::decode(wcdn_proto::pb::DESCRIPTORS).unwrap();
        let admin = files.file.iter().filter(|file| file.package() == "wcdn.admin.v1");
        let calls = admin.flat_map(|file| &file.service).flat_map(|service| &service.method);
        let calls: BTreeSet<&str> = calls.map(|method| method.name()).collect();
        let operations: BTreeSet<&str> = Operation::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(calls, operations);
        for operation in Operation::ALL {
            assert_eq!(Operation::of_method(operation.name()), Some(*operation));
        }
    }

    #[test]
    fn all_scopes_admit_to_everything_and_none_to_nothing_but_oneself() {
        for operation in Operation::ALL {
            assert!(operation.admits(Scopes::ALL));
            assert_eq!(operation.admits(Scopes::NONE), *operation == Operation::GetCaller);
        }
    }
}
