use occ_test_support::dead::how;
use occ_test_support::{LIMIT, isolated, role, test_path};

#[test]
#[expect(clippy::exit, reason = "the status of a program of its own")]
fn role_ends_with_status_7() {
    if role::is(test_path!()) {
        std::process::exit(7);
    }
}

#[test]
fn a_role_is_a_program_of_its_own() {
    isolated!(|| {
        let mut program = role::command("role::role_ends_with_status_7")
            .spawn()
            .unwrap();
        assert_ne!(program.id(), std::process::id());
        assert_eq!(how(&mut program, LIMIT).code(), Some(7));
    });
}

#[test]
fn a_test_plays_no_role_unless_asked_to() {
    assert!(!role::is(test_path!()));
    assert!(!role::is("role::role_ends_with_status_7"));
}
