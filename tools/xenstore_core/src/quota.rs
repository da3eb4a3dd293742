//! Quotas: what an unprivileged domain may use. Defaults are Xen's. Domain 0 has none.

/// A quota's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Quota {
    /// Nodes that a domain owns.
    Nodes,
    /// Watches.
    Watches,
    /// Requests whose reply, or whose events at other clients, are not delivered yet.
    Outstanding,
    /// Bytes of everything: nodes, watches, transactions, what waits to be sent.
    Memory,
    /// Open transactions.
    Transactions,
    /// Nodes that one transaction may touch.
    TransactionNodes,
    /// Entries in a node's permissions.
    NodePermissions,
    /// Bytes of a path, without the domain's own prefix.
    PathMax,
    /// Bytes of a node: its value, permissions and its children's names.
    NodeSize,
}

/// Name on the wire, description, default hard limit, default soft limit (0: none).
const TABLE: [(Quota, &str, &str, u32, u32); Quota::COUNT] = [
    (Quota::Nodes, "nodes", "Nodes per domain", 1000, 0),
    (Quota::Watches, "watches", "Watches per domain", 128, 0),
    (
        Quota::Outstanding,
        "outstanding",
        "Outstanding requests per domain",
        20,
        0,
    ),
    (
        Quota::Memory,
        "memory",
        "Total Xenstore memory per domain",
        2560 * 1024,
        2048 * 1024,
    ),
    (
        Quota::Transactions,
        "transactions",
        "Active transactions per domain",
        10,
        0,
    ),
    (
        Quota::TransactionNodes,
        "transaction-nodes",
        "Max. number of accessed nodes per transaction",
        1024,
        0,
    ),
    (
        Quota::NodePermissions,
        "node-permissions",
        "Max. number of permissions per node",
        5,
        0,
    ),
    (
        Quota::PathMax,
        "path-max",
        "Max. length of a node path",
        2048,
        0,
    ),
    (Quota::NodeSize, "node-size", "Max. size of a node", 2048, 0),
];

impl Quota {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// All kinds, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Quota> {
        TABLE.iter().map(|(quota, ..)| *quota)
    }

    /// The name that CONTROL and GET_QUOTA use.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Whether it is about what a whole domain has, and not about a single node, path or transaction.
    pub(crate) fn is_of_domain(self) -> bool {
        !matches!(
            self,
            Quota::TransactionNodes | Quota::NodePermissions | Quota::PathMax | Quota::NodeSize
        )
    }

    /// One line for people.
    pub fn description(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// The quota of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|(_, known, ..)| *known == name)
            .map(|(quota, ..)| *quota)
    }
}

/// A limit for each kind; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits([u32; Quota::COUNT]);

impl Limits {
    /// Xen's defaults.
    pub fn hard_defaults() -> Self {
        Limits(TABLE.map(|(_, _, _, hard, _)| hard))
    }

    /// Xen's defaults for warnings: 2 MiB of memory.
    pub fn soft_defaults() -> Self {
        Limits(TABLE.map(|(_, _, _, _, soft)| soft))
    }

    /// The limit; 0 means none.
    pub fn get(&self, quota: Quota) -> u32 {
        self.0[quota as usize]
    }

    /// Sets the limit; 0 means none.
    pub fn set(&mut self, quota: Quota, limit: u32) {
        self.0[quota as usize] = limit;
    }

    /// Whether `value` is more than the limit allows.
    pub fn exceeded(&self, quota: Quota, value: u64) -> bool {
        let limit = self.get(quota);
        limit != 0 && value > u64::from(limit)
    }
}
