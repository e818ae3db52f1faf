//! Processes that execute a program.

use super::*;

#[test]
fn that_an_executable_is_another_program_is_no_evidence_and_it_has_no_handlers() {
    let down = |executes: bool| {
        let mut s = System::new();
        let care = Care {
            executes,
            ..Care::default()
        };
        s.ask(HOST, with_care(1, care));
        s.begins(2);
        s.monitor(HOST, 1, 2);
        let mut end = end(signal(11));
        if executes {
            let exe = "true".to_owned();
            end.evidence.push(Evidence::Executed { exe });
        }
        let mut effects = Vec::new();
        s.0.handle(Event::Ended { process: 2, end }, &mut effects);
        let facts = effects.into_iter().find_map(|effect| match effect {
            Effect::Down { ended, .. } => ended.facts,
            _ => None,
        });
        facts.unwrap().end.evidence
    };
    assert_eq!(down(true), []);
    assert_eq!(down(false), [Evidence::HandlerSilent]);
}
