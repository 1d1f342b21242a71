//! Which packages hold BPF programs: the one place that lists them.

/// A package and its binary, which cargo links to one BPF object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package, a member of the workspace.
    pub package: &'static str,
    /// The binary in it, and so the object's file name.
    pub binary: &'static str,
    /// Features of the package that are asked for.
    pub features: &'static [&'static str],
    /// Compiler flags of its own, beside those of every BPF build. They don't apply to the sysroot.
    pub rustflags: &'static [&'static str],
}

/// Sluice's packet path.
pub const PRODUCT: Program = Program {
    package: "lb-ebpf",
    binary: "sluice-xdp",
    features: &[],
    rustflags: &[
        // Headers lie at any alignment: without this the compiler reads them byte by byte, with it
        // in words. The verifier takes that everywhere but on the stack, so the program keeps no
        // unaligned type there.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        // The linker's default turns every memset into a call of a loop.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ],
};

/// What the tests and the demo need around it.
pub const FOR_TESTS: Program = Program {
    package: "tests-ebpf",
    binary: "tests-ebpf",
    features: &[],
    // As above, so that the benchmark's floors are no slower than they have to be.
    rustflags: &["-Clink-arg=--cpu-features=+allows-misaligned-mem-access"],
};
