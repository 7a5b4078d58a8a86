//! The hashes of Walrus: BLAKE2b-256 over prefixed leaves and inner nodes, in batches.

use blake2b_simd::{
    Params,
    many::{HashManyJob, hash_many},
};

/// A BLAKE2b-256 digest.
pub(crate) type Digest = [u8; 32];

const LEAF: u8 = 0;
const INNER: u8 = 1;

/// What pads a level with an odd number of nodes: the literal value, not a hash of anything.
const EMPTY: Digest = [0; 32];

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

/// BLAKE2b-256 of the bytes, unprefixed.
pub(crate) fn hash(bytes: &[u8]) -> Digest {
    to_digest(&params().hash(bytes))
}

fn to_digest(hash: &blake2b_simd::Hash) -> Digest {
    hash.as_bytes().try_into().expect("the hash length is 32")
}

/// The hashes of equally long inputs that stand one after the other.
///
/// Equal lengths let several be hashed side by side in vector registers, which is most of the
/// speed there is: a blob id takes three million hashes.
fn hash_each(inputs: &[u8], length: usize) -> Vec<Digest> {
    let params = params();
    let mut digests = Vec::with_capacity(inputs.len() / length);
    for chunk in inputs.chunks(length * BATCH) {
        let mut jobs: Vec<_> =
            chunk.chunks_exact(length).map(|input| HashManyJob::new(&params, input)).collect();
        hash_many(&mut jobs);
        digests.extend(jobs.iter().map(|job| to_digest(&job.to_hash())));
    }
    digests
}

/// Hashes prepared at once: enough to fill the vector registers, few enough to stay in the cache.
const BATCH: usize = 128;

/// The leaf hashes of symbols of `size` bytes that stand one after the other.
pub(crate) fn leaves(symbols: &[u8], size: usize) -> Vec<Digest> {
    let mut inputs = Vec::with_capacity(symbols.len() / size * (size + 1));
    for symbol in symbols.chunks_exact(size) {
        inputs.push(LEAF);
        inputs.extend_from_slice(symbol);
    }
    hash_each(&inputs, size + 1)
}

/// The inner nodes above each pair of left and right children.
fn inner<'a>(pairs: impl ExactSizeIterator<Item = (&'a Digest, &'a Digest)>) -> Vec<Digest> {
    const LEN: usize = 1 + 2 * size_of::<Digest>();
    let mut inputs = Vec::with_capacity(pairs.len() * LEN);
    for (left, right) in pairs {
        inputs.push(INNER);
        inputs.extend_from_slice(left);
        inputs.extend_from_slice(right);
    }
    hash_each(&inputs, LEN)
}

/// The root over leaf hashes.
pub(crate) fn root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(EMPTY);
        }
        level = inner(level.chunks_exact(2).map(|pair| (&pair[0], &pair[1])));
    }
    level.first().copied().unwrap_or(EMPTY)
}

/// One node of each of many trees that grow in step.
#[derive(Debug, Clone)]
pub(crate) enum Nodes {
    /// The same in every tree: what zeros give, for one hash instead of thousands.
    Same(Digest),
    /// One for each tree.
    Each(Vec<Digest>),
}

impl Nodes {
    fn over(left: &Self, right: &Self) -> Self {
        match (left, right) {
            (Self::Same(left), Self::Same(right)) => {
                Self::Same(inner([(left, right)].into_iter())[0])
            }
            (Self::Each(left), Self::Each(right)) => Self::Each(inner(left.iter().zip(right))),
            (Self::Same(left), Self::Each(right)) => {
                Self::Each(inner(right.iter().map(|right| (left, right))))
            }
            (Self::Each(left), Self::Same(right)) => {
                Self::Each(inner(left.iter().map(|left| (left, right))))
            }
        }
    }

    /// The nodes of `count` trees.
    pub(crate) fn each(self, count: usize) -> Vec<Digest> {
        match self {
            Self::Same(digest) => vec![digest; count],
            Self::Each(digests) => digests,
        }
    }
}

/// Many trees that get their next leaf at the same time.
///
/// Like a binary counter: a level holds one finished subtree or none, and two of them make one of
/// the next level. So a tree over n leaves needs log₂ n nodes of memory, not n.
#[derive(Debug, Default)]
pub(crate) struct Forest {
    levels: Vec<Option<Nodes>>,
}

impl Forest {
    /// Adds the next leaf hash of every tree.
    pub(crate) fn push(&mut self, leaves: Nodes) {
        let mut carry = leaves;
        for level in &mut self.levels {
            match level.take() {
                Some(left) => carry = Nodes::over(&left, &carry),
                None => {
                    *level = Some(carry);
                    return;
                }
            }
        }
        self.levels.push(Some(carry));
    }

    /// The roots.
    pub(crate) fn roots(mut self) -> Nodes {
        let mut carry: Option<Nodes> = None;
        while let Some(top) = self.levels.len().checked_sub(1) {
            let is_top = top == 0;
            let node = self.levels.remove(0);
            carry = match (node, carry) {
                (Some(left), Some(right)) => Some(Nodes::over(&left, &right)),
                (Some(alone), None) | (None, Some(alone)) if !is_top => {
                    Some(Nodes::over(&alone, &Nodes::Same(EMPTY)))
                }
                (alone, None) | (None, alone) => alone,
            };
        }
        carry.unwrap_or(Nodes::Same(EMPTY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_that_grow_have_the_roots_of_trees_built_at_once() {
        for count in 0..70u8 {
            let leaves: Vec<Digest> = (0..count).map(|n| [n + 1; 32]).collect();
            let mut forest = Forest::default();
            for leaf in &leaves {
                forest.push(Nodes::Each(vec![*leaf, [0xAA; 32]]));
            }
            let roots = forest.roots().each(2);
            assert_eq!(roots[0], root(&leaves), "{count} leaves");
            assert_eq!(roots[1], root(&vec![[0xAA; 32]; count.into()]), "{count} leaves");
        }
    }

    #[test]
    fn equal_nodes_are_hashed_once_to_the_same_end() {
        for count in [1, 2, 3, 5, 8, 13] {
            let (mut same, mut each) = (Forest::default(), Forest::default());
            for n in 0..count {
                same.push(Nodes::Same([n; 32]));
                each.push(if n % 3 == 0 {
                    Nodes::Same([n; 32])
                } else {
                    Nodes::Each(vec![[n; 32]; 2])
                });
            }
            assert_eq!(same.roots().each(2), each.roots().each(2));
        }
    }
}
