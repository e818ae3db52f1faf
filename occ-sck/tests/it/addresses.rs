//! Addresses: what is one, and that each is read as it was written.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use occ_sck::{Address, AddressError, decode, encode_into};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Address, AddressError> {
    text.parse()
}

#[test]
fn each_kind_has_its_text() {
    let cases = [
        ("unix:/run/x.sock", Address::path("/run/x.sock").unwrap()),
        ("unix:x", Address::path("x").unwrap()),
        ("unix:@name", Address::abstract_name("name").unwrap()),
        (r"unix:@a\x00b\\", Address::abstract_name("a\0b\\").unwrap()),
        // A path that begins like a name.
        (r"unix:\x40x", Address::path("@x").unwrap()),
        (
            r"unix:/\xff\x0aü",
            Address::path(OsStr::from_bytes(b"/\xff\n\xc3\xbc")).unwrap(),
        ),
        (
            "tcp:127.0.0.1:80",
            Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 80))),
        ),
        (
            "tcp:[::1]:80",
            "[::1]:80".parse::<std::net::SocketAddr>().unwrap().into(),
        ),
        (
            "seqpacket:/x",
            Address::path("/x").unwrap().seqpacket().unwrap(),
        ),
        (
            "seqpacket:@x",
            Address::abstract_name("x").unwrap().seqpacket().unwrap(),
        ),
    ];
    for (text, address) in cases {
        assert_eq!(address.to_string(), text);
        assert_eq!(parse(text).unwrap(), address, "{text}");
        let mut bytes = Vec::new();
        encode_into(&address, &mut bytes).unwrap();
        assert_eq!(decode::<Address>(&bytes).unwrap(), address, "{text}");
        let kinds = [
            address.as_path().is_some(),
            address.as_abstract_name().is_some(),
            address.as_tcp().is_some(),
        ];
        assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{text}");
        assert_eq!(
            address.is_seqpacket(),
            text.starts_with("seqpacket"),
            "{text}"
        );
    }
    assert_eq!(parse("unix:/x").unwrap().as_path(), Some(Path::new("/x")));
    assert_eq!(
        format!("{:?}", parse("unix:/x").unwrap()),
        "Address(unix:/x)"
    );
}

#[test]
fn what_is_no_address_is_told_as_what_it_is() {
    let long = "x".repeat(108);
    let cases = [
        (
            "/run/x",
            "begins with `unix:`, `seqpacket:` or `tcp:`, and this is `/run/x`",
        ),
        ("", "and this is ``"),
        ("udp:1.2.3.4:5", "and this is `udp:1.2.3.4:5`"),
        (
            "unix:",
            "expected a socket's path of 1 to 107 bytes, and this one has 0",
        ),
        (
            "unix:@",
            "expected a socket's abstract name of 1 to 107 bytes, and this one has 0",
        ),
        (
            &format!("unix:{long}"),
            "path of 1 to 107 bytes, and this one has 108",
        ),
        (
            &format!("seqpacket:@{long}"),
            "abstract name of 1 to 107 bytes, and this one has 108",
        ),
        (
            r"unix:a\x00",
            r#"expected a path without a zero byte, and this is "a\0""#,
        ),
        (r"unix:a\", r"at each backslash, and this is `a\`"),
        (r"unix:a\x4", r"at each backslash, and this is `a\x4`"),
        (r"unix:a\xg0", r"at each backslash, and this is `a\xg0`"),
        (r"unix:a\n", r"at each backslash, and this is `a\n`"),
        (
            "tcp:localhost:80",
            "expected an IP address and a port, as `127.0.0.1:80` or `[::1]:80`, and this is `localhost:80`",
        ),
        ("tcp:127.0.0.1", "and this is `127.0.0.1`"),
    ];
    for (text, words) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let error = parse("tcp:127.0.0.1:80").unwrap().seqpacket().unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a Unix address for SOCK_SEQPACKET, and this is tcp:127.0.0.1:80"
    );
    // 107 are not too many.
    assert!(parse(&format!("unix:{}", "x".repeat(107))).is_ok());

    let mut bytes = Vec::new();
    encode_into("udp:x", &mut bytes).unwrap();
    assert!(decode::<Address>(&bytes).is_err());
}

proptest! {
    #[test]
    fn whatever_the_bytes_what_is_displayed_is_read_again(bytes in proptest::collection::vec(any::<u8>(), 1..108)) {
        let name = Address::abstract_name(&bytes).unwrap();
        prop_assert_eq!(parse(&name.to_string()).unwrap(), name.clone());
        prop_assert!(!name.to_string().chars().any(char::is_control));
        if let Ok(path) = Address::path(OsStr::from_bytes(&bytes)) {
            prop_assert_eq!(parse(&path.to_string()).unwrap(), path.clone());
            prop_assert_ne!(path, name);
        }
    }

    #[test]
    fn whatever_the_text_it_is_an_address_that_is_displayed_alike_or_an_error(text in "(unix:|seqpacket:|tcp:|)[@/\\\\x0-9a-f:.\\[\\]]{0,12}") {
        if let Ok(address) = parse(&text) {
            prop_assert_eq!(parse(&address.to_string()).unwrap(), address);
        }
    }
}
