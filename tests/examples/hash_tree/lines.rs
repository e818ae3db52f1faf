//! What a line looks like.

use super::parts::line;

#[test]
fn a_name_is_escaped_only_where_a_line_would_break_or_deceive() {
    let cases: &[(&[u8], &[u8], &[u8])] = &[
        (b"", b"plain", b"plain"),
        (b"", b" a  b\t*", b" a  b\t*"),
        (b"", b"\xff\x80", b"\xff\x80"),
        (b"", b"", b""),
        (b"\\", b"a\nb", b"a\\nb"),
        (b"\\", b"a\rb", b"a\\rb"),
        (b"\\", b"a\\b", b"a\\\\b"),
        (b"\\", b"\\n\n", b"\\\\n\\n"),
    ];
    let mut digest = [0; 32];
    digest[0] = 0x0f;
    digest[31] = 0xa9;
    let hex = format!("0f{}a9", "00".repeat(30));
    for (mark, name, shown) in cases {
        let mut written = Vec::new();
        line::write(&mut written, &digest, name).unwrap();
        let expected = [mark, hex.as_bytes(), b"  ", shown, b"\n"].concat();
        assert_eq!(written, expected, "{name:?}");
    }
}
