//! Whose code a function is.

/// Whose code a function is; the colour of its frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Category {
    /// WebAssembly code of the guest.
    #[default]
    Guest,
    /// A function of WASI, implemented by the host.
    Wasi,
    /// Any other code of the host.
    Host,
    /// The engine's own code: trampolines, builtins, memory growth.
    Engine,
    /// Frames that are there but may not be named.
    Opaque,
    /// Time for which no stack is known.
    Lost,
}

impl Category {
    /// All categories, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Guest,
        Self::Wasi,
        Self::Host,
        Self::Engine,
        Self::Opaque,
        Self::Lost,
    ];

    /// Returns the name that formats show: `Guest`, `WASI` ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "Guest",
            Self::Wasi => "WASI",
            Self::Host => "Host",
            Self::Engine => "Engine",
            Self::Opaque => "Opaque",
            Self::Lost => "Lost",
        }
    }
}
