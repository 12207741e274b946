//! The flags that choose functions.

/// Which functions to listen to.
#[derive(Debug, clap::Args)]
pub(crate) struct SelectArgs {
    /// Only functions whose name matches; may be given several times
    ///
    /// A glob: * is any text, ? any character, [a-z] one of these, {a,b} either, and \ takes the
    /// next character as it is. It is compared with the whole name, as it is in the file and
    /// demangled, and an import is MODULE.NAME, or NAME alone: --functions 'app::*',
    /// --functions 'fd_*', --functions 'env.*'. A function of a component goes by its WIT name,
    /// with its interface or alone: --functions 'wasi:io/*', --functions 'output-stream.write'.
    #[arg(long = "functions", value_name = "GLOB", help_heading = "Functions")]
    pub(crate) functions: Vec<String>,

    /// Only functions of the host, which the guest imports: what strace does for system calls
    ///
    /// Of a component, all that it imports, and that components within it import of each other.
    #[arg(long, help_heading = "Functions")]
    pub(crate) imports: bool,
}
