use occ_test_support::{role, stress, test_path};

#[test]
fn role_prints_ten_times() {
    if role::is(test_path!()) {
        println!("times: {}", stress::times(10));
    }
}

fn times_with(value: Option<&str>) -> String {
    let mut command = role::command("stress::role_prints_ten_times");
    command.env_remove("OCC_STRESS");
    if let Some(value) = value {
        command.env("OCC_STRESS", value);
    }
    let output = command.output().unwrap();
    let shown = [output.stdout, output.stderr].concat();
    String::from_utf8(shown).unwrap()
}

#[test]
fn it_multiplies_and_is_one_by_default() {
    assert!(times_with(None).contains("times: 10\n"));
    assert!(times_with(Some("3")).contains("times: 30\n"));
}

#[test]
fn nonsense_is_not_taken_for_one() {
    for nonsense in ["", "0", "-1", "many"] {
        let shown = times_with(Some(nonsense));
        assert!(
            shown.contains("expected a positive number"),
            "{nonsense:?}: {shown}"
        );
    }
}
