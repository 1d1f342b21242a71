//! The scripts on the kernel's maps, which are read back: what was written is there, and nothing else.

use lb_userspace::kernel::{self, Features, Pins};
use sluice_tests::{
    namespace::Namespace,
    scripts::{self, KernelHeld, LINKS},
    stage::Stage,
};

use super::constants;

#[test]
fn every_script_goes_as_it_says_on_maps() {
    let stage = Stage::set_up("sluice-scripts").unwrap();
    let namespace = Namespace::create(&stage.name("host")).unwrap();
    for (name, number) in LINKS {
        let link = format!("link add {name} index {number} type veth peer name {name}-end");
        namespace.ip(&link).unwrap();
    }
    // Targets of redirects are devices of the namespace that writes them.
    let failures = namespace.run(|| Ok(scripts::run_all(|| maps(&stage))));
    let failures = failures.unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// New maps, in place of those before.
fn maps(stage: &Stage) -> Result<KernelHeld, String> {
    let new = || {
        let pins = Pins::open(&stage.pin())?;
        let (maps, set) = kernel::new_tables(&pins, &constants::small(Features::default()))?;
        Ok::<_, kernel::Error>(KernelHeld::new(maps, set))
    };
    new().map_err(|error| error.to_string())
}
