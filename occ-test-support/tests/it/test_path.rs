#[test]
fn it_is_the_path_that_libtest_uses() {
    assert_eq!(
        occ_test_support::test_path!(),
        "test_path::it_is_the_path_that_libtest_uses"
    );
    assert_eq!(
        std::thread::current().name(),
        Some(occ_test_support::test_path!())
    );
}

#[test]
fn a_closure_does_not_show_in_it() {
    let inner = || occ_test_support::test_path!();
    let outer = || inner();
    let path = outer();
    assert_eq!(path, "test_path::a_closure_does_not_show_in_it");
}
