use super::*;

#[test]
fn checked_in_code_is_what_the_definitions_give() {
    run(Mode::Check).unwrap();
}
