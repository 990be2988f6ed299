//! The cases of `cargo bench --bench overhead` under `console-subscriber`, with its defaults and no client.
#[path = "../../overhead/cases.rs"]
mod cases;
#[path = "../../overhead/peer.rs"]
mod peer;

use cases::{Flavor, Raw};

fn main() {
    // A free port: a console may be in use on this machine.
    console_subscriber::ConsoleLayer::builder().server_addr(([127, 0, 0, 1], 0)).init();
    let runtimes = Flavor::ALL.map(|flavor| (flavor, flavor.build()));
    peer::serve(|case, wanted, _, ops| {
        let (_, runtime) = runtimes.iter().find(|(flavor, _)| *flavor == wanted).expect("there is one of each");
        case.nanos_per_op::<Raw>(runtime, ops)
    });
}
