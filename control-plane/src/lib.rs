//! The WCDN control plane: what must be true everywhere.
