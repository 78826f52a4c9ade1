use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// A sandbox, and a place that nothing may be written to from it.
struct Fixture {
    base: TempDir,
    request: Request,
}

impl Fixture {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for folder in ["sandbox", "home"] {
            fs::create_dir(base.path().join(folder)).unwrap();
        }
        fs::write(base.path().join("precious"), "precious").unwrap();
        let request = Request {
            directory: base.path().join("sandbox"),
            items: Vec::new(),
            user: None,
            frameworks_home: Some(base.path().join("home")),
            stall_timeout: Duration::from_secs(5),
        };
        Self { base, request }
    }

    fn sandbox(&self, name: &str) -> PathBuf {
        self.request.directory.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = self.request.directory.read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.sandbox(name)).unwrap().permissions().mode() & 0o7777
    }

    /// Puts a file where relative paths start.
    fn home(&self, name: &str, content: &[u8]) {
        fs::write(self.base.path().join("home").join(name), content).unwrap();
    }

    fn fetch(&self, uri: &str) -> Result<String, ItemError> {
        fetch(&self.request, &item(uri))
    }

    /// Extracts an archive and gives the error's text with all causes.
    fn refuse(&self, name: &str, archive: &[u8]) -> String {
        self.home(name, archive);
        let text = with_causes(&self.fetch(name).unwrap_err());
        assert_eq!(fs::read_to_string(self.base.path().join("precious")).unwrap(), "precious");
        let mut names: Vec<_> =
            self.base.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["home", "precious", "sandbox"]);
        text
    }
}

fn item(uri: &str) -> Item {
    Item { uri: uri.to_owned(), extract: true, executable: false, output_file: None, cache: false }
}

fn header(kind: EntryType, name: &str, length: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // Not `set_path`, which refuses what these tests are about.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length);
    header.set_mode(mode);
    header.set_cksum();
    header
}

fn link(kind: EntryType, name: &str, target: &str) -> Header {
    let mut header = header(kind, name, 0, 0o777);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    header
}

fn file(name: &str, content: &'static str) -> (Header, &'static str) {
    (header(EntryType::Regular, name, content.len() as u64, 0o4755), content)
}

fn tar(entries: &[(Header, &'static str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (header, content) in entries {
        builder.append(header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn good_tar() -> Vec<u8> {
    tar(&[
        (header(EntryType::Directory, "./", 0, 0o755), ""),
        (header(EntryType::Directory, "folder/", 0, 0o755), ""),
        file("folder/program", "content"),
        (link(EntryType::Symlink, "folder/link", "../folder/program"), ""),
        (link(EntryType::Link, "hard", "folder/program"), ""),
        file("new/deep/file", "deep"),
    ])
}

fn gz(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn bz2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zip(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o777);
        if mode & libc::S_IFMT == libc::S_IFLNK {
            writer.add_symlink(*name, *content, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// Serves one connection with these bytes, then keeps it open for so long. Gives the request.
fn serve(response: Vec<u8>, linger: Duration) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                break;
            }
            request.push(byte[0]);
        }
        // The client may have hung up.
        let _ = stream.write_all(&response);
        std::thread::sleep(linger);
        String::from_utf8_lossy(&request).into_owned()
    });
    (address.to_string(), server)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend(body);
    response
}

#[test]
fn every_kind_of_archive_is_extracted_and_kept() {
    let tar = good_tar();
    for (name, archive) in [
        ("a.tar", tar.clone()),
        ("a.tgz", gz(&tar)),
        ("a.tar.gz", gz(&tar)),
        ("a.tbz2", bz2(&tar)),
        ("a.tar.bz2", bz2(&tar)),
        ("a.txz", xz(&tar)),
        ("a.tar.xz", xz(&tar)),
    ] {
        let fixture = Fixture::new();
        fixture.home(name, &archive);
        assert_eq!(fixture.fetch(name).unwrap(), name);
        assert_eq!(fixture.read("folder/program"), "content", "{name}");
        // The set-user-id bit is gone.
        assert_eq!(fixture.mode("folder/program"), 0o755);
        assert_eq!(fixture.read("folder/link"), "content");
        assert_eq!(fixture.read("hard"), "content");
        assert_eq!(fixture.read("new/deep/file"), "deep");
        assert!(fixture.sandbox(name).exists());
    }
    let fixture = Fixture::new();
    fixture.home(
        "a.zip",
        &zip(&[
            ("folder/program", 0o755, "content"),
            ("folder/link", libc::S_IFLNK | 0o777, "program"),
        ]),
    );
    fixture.fetch("a.zip").unwrap();
    assert_eq!(fixture.read("folder/link"), "content");
    assert_eq!(fixture.mode("folder/program"), 0o755);

    fixture.home("data.txt.gz", &gz(b"text"));
    fixture.fetch("data.txt.gz").unwrap();
    assert_eq!(fixture.read("data.txt"), "text");
}

#[test]
fn hostile_archives_are_refused() {
    let refuse = |entries: &[(Header, &'static str)]| Fixture::new().refuse("a.tar", &tar(entries));
    let escapes = |text: String| assert!(text.contains("leads out of the directory"), "{text}");
    escapes(refuse(&[file("../precious", "bad")]));
    escapes(refuse(&[file("/tmp/../../precious", "bad")]));
    escapes(refuse(&[file("a/../../precious", "bad")]));
    escapes(refuse(&[(link(EntryType::Symlink, "out", "../precious"), "")]));
    escapes(refuse(&[(link(EntryType::Symlink, "out", "/etc"), ""), file("out/bad", "bad")]));
    escapes(refuse(&[(link(EntryType::Link, "out", "../precious"), "")]));
    // A link that only leads out by way of another.
    escapes(refuse(&[
        (link(EntryType::Symlink, "here", "."), ""),
        (link(EntryType::Symlink, "here/here/here/out", "../../precious"), ""),
    ]));
    escapes(refuse(&[
        (link(EntryType::Symlink, "here", "."), ""),
        (link(EntryType::Symlink, "folder/out", "../here/../../precious"), ""),
    ]));
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let text = refuse(&[(header(kind, "device", 0, 0o666), "")]);
        assert!(text.contains("'device' is a device"), "{text}");
    }
    let zip = zip(&[("out", libc::S_IFLNK | 0o777, "../precious")]);
    escapes(Fixture::new().refuse("a.zip", &zip));
}

#[test]
fn a_second_name_for_a_link_is_refused() {
    // In the top folder the link would lead out.
    let text = Fixture::new().refuse(
        "a.tar",
        &tar(&[
            (header(EntryType::Directory, "folder/", 0, 0o755), ""),
            (link(EntryType::Symlink, "folder/top", ".."), ""),
            (link(EntryType::Link, "out", "folder/top"), ""),
        ]),
    );
    assert!(text.contains("'folder/top' is not a plain file"), "{text}");
}

#[test]
fn archives_take_no_more_than_their_bounds() {
    let fixture = Fixture::new();
    let directory = Directory::open(&fixture.request.directory).unwrap();
    let extract = |name: &str, archive: &[u8], bytes, entries| {
        fs::write(fixture.sandbox(name), archive).unwrap();
        let limits = Limits { bytes, entries };
        extract::extract(&directory, Path::new(name), limits).map_err(|error| error.to_string())
    };
    let bytes = |max: u64| Err(format!("the archive unpacks to more than {max} bytes"));
    let text = "x".repeat(100_000);
    assert_eq!(extract("a.gz", &gz(text.as_bytes()), 100_000, 1), Ok(true));
    assert_eq!(extract("a.gz", &gz(text.as_bytes()), 99_999, 1), bytes(99_999));
    assert_eq!(extract("a.zip", &zip(&[("a", 0o644, &text)]), 99_999, 1), bytes(99_999));
    // What comes after the end of a tar archive is read for the checksum and counts too.
    let mut long = good_tar();
    long.resize(1_000_000, 0);
    assert_eq!(extract("a.tgz", &gz(&long), 100_000, 9), bytes(100_000));
    let entries = |max: u64| Err(format!("the archive has more than {max} entries"));
    assert_eq!(extract("b.tar", &good_tar(), 100_000, 6), Ok(true));
    assert_eq!(extract("b.tar", &good_tar(), 100_000, 5), entries(5));
    let two = zip(&[("a", 0o644, ""), ("b", 0o644, "")]);
    assert_eq!(extract("b.zip", &two, 100_000, 1), entries(1));
}

#[test]
fn folders_and_files_get_the_attributes_of_the_archive() {
    let mut closed = header(EntryType::Directory, "closed/", 0, 0o2550);
    closed.set_mtime(1_000_000_000);
    closed.set_cksum();
    let mut inside = file("closed/inside", "inside");
    inside.0.set_mtime(1_100_000_000);
    inside.0.set_cksum();
    let fixture = Fixture::new();
    fixture.home("a.tar", &tar(&[(closed, ""), inside]));
    fixture.fetch("a.tar").unwrap();
    assert_eq!(fixture.mode("closed"), 0o550);
    let modified = |name| fs::metadata(fixture.sandbox(name)).unwrap().modified().unwrap();
    let at = |seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(modified("closed"), at(1_000_000_000));
    assert_eq!(modified("closed/inside"), at(1_100_000_000));
}

#[test]
fn a_file_replaces_a_link_instead_of_being_written_through_it() {
    let fixture = Fixture::new();
    fixture.home(
        "a.tar",
        &tar(&[
            file("kept", "kept"),
            (link(EntryType::Symlink, "name", "kept"), ""),
            file("name", "replaced"),
        ]),
    );
    fixture.fetch("a.tar").unwrap();
    assert_eq!((fixture.read("kept"), fixture.read("name")), ("kept".into(), "replaced".into()));
    // The same for a link that was in the sandbox before.
    std::os::unix::fs::symlink("../precious", fixture.sandbox("plain")).unwrap();
    fixture.home("plain", b"new");
    fixture.fetch("plain").unwrap();
    assert_eq!(fs::read_to_string(fixture.base.path().join("precious")).unwrap(), "precious");
    assert_eq!(fixture.read("plain"), "new");
}

#[test]
fn truncated_archives_are_refused() {
    let tar = good_tar();
    for (name, archive) in [("a.tar.gz", gz(&tar)), ("a.tbz2", bz2(&tar)), ("a.txz", xz(&tar))] {
        Fixture::new().refuse(name, &archive[..archive.len() / 2]);
        Fixture::new().refuse(name, b"no archive");
    }
    Fixture::new().refuse("a.zip", &zip(&[("a", 0o644, "content")])[..20]);
}

#[test]
fn options_choose_the_name_and_the_permissions() {
    let fixture = Fixture::new();
    fixture.home("program.tgz", b"#!/bin/sh\n");
    let mut item = item("program.tgz");
    item.executable = true;
    item.output_file = Some("bin/run".to_owned());
    assert_eq!(fetch(&fixture.request, &item).unwrap(), "bin/run");
    assert_eq!(fixture.mode("bin/run"), 0o755);

    // Not an archive by its new name.
    item.executable = false;
    item.output_file = Some("./plain".to_owned());
    fetch(&fixture.request, &item).unwrap();
    assert_eq!(fixture.read("plain"), "#!/bin/sh\n");

    item.extract = false;
    item.output_file = None;
    fetch(&fixture.request, &item).unwrap();
    assert_eq!(fixture.read("program.tgz"), "#!/bin/sh\n");

    std::os::unix::fs::symlink("..", fixture.sandbox("up")).unwrap();
    for bad in ["../precious", "/precious", "a/../../precious", "up/precious", "", "."] {
        item.output_file = Some(bad.to_owned());
        let error = fetch(&fixture.request, &item).unwrap_err();
        assert!(with_causes(&error).contains("leads out of the directory"), "{bad}: {error}");
    }
}

#[test]
fn http_brings_files_and_says_what_is_wrong() {
    let mut fixture = Fixture::new();
    let (address, server) = serve(ok(&gz(&good_tar())), Duration::ZERO);
    fixture.fetch(&format!("http://{address}/some/a.tgz")).unwrap();
    server.join().unwrap();
    assert_eq!(fixture.read("folder/program"), "content");

    // An encoding nobody asked for is not undone: the file is what the server has.
    let body = gz(b"text");
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    response.extend(&body);
    let (address, _server) = serve(response, Duration::ZERO);
    fixture.fetch(&format!("http://{address}/encoded.bin")).unwrap();
    assert_eq!(fs::read(fixture.sandbox("encoded.bin")).unwrap(), body);

    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (address, _server) = serve(missing, Duration::ZERO);
    let error = fixture.fetch(&format!("http://{address}/x")).unwrap_err();
    assert_eq!(error.to_string(), "received HTTP return code 404");

    // A body that ends early leaves what was there before.
    fs::write(fixture.sandbox("x"), "before").unwrap();
    let before = fixture.names();
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let short = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\nabc\r\n").into_bytes();
        let (address, _server) = serve(short, Duration::ZERO);
        let error = fixture.fetch(&format!("http://{address}/x")).unwrap_err();
        assert!(matches!(error, ItemError::Transfer(_)), "{error}");
        assert_eq!((fixture.read("x"), fixture.names()), ("before".to_owned(), before.clone()));
    }

    // Somebody who does not speak TLS, and waits for the rest of the request.
    fixture.request.stall_timeout = Duration::from_millis(300);
    let (address, _server) = serve(ok(b"x"), Duration::ZERO);
    assert!(fixture.fetch(&format!("https://{address}/x")).is_err());
}

#[test]
fn redirects_are_followed_and_passwords_sent() {
    let fixture = Fixture::new();
    let (target, _server) = serve(ok(b"content"), Duration::ZERO);
    let moved = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{target}/other\r\nContent-Length: 0\r\n\r\n"
    );
    let (address, _server) = serve(moved.into_bytes(), Duration::ZERO);
    fixture.fetch(&format!("http://{address}/x")).unwrap();
    assert_eq!(fixture.read("x"), "content");

    let (address, server) = serve(ok(b"secret"), Duration::ZERO);
    fixture.fetch(&format!("http://user:pass%21@{address}/secret?a=b")).unwrap();
    assert_eq!(fixture.read("secret"), "secret");
    let request = server.join().unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /secret?a=b http/1.1\r\n"), "{request}");
    // base64 of `user:pass!`, in lower case.
    assert!(request.contains("\r\nauthorization: basic dxnlcjpwyxnziq==\r\n"), "{request}");
}

#[test]
fn a_download_that_stands_still_is_given_up() {
    let mut fixture = Fixture::new();
    fixture.request.stall_timeout = Duration::from_millis(200);
    let started = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec();
    let (address, _server) = serve(started, Duration::from_secs(10));
    let begin = Instant::now();
    let error = fixture.fetch(&format!("http://{address}/x")).unwrap_err();
    assert_eq!(error.to_string(), "the download stood still for 0.2 s");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn local_files_keep_their_permissions_and_directories_are_refused() {
    let fixture = Fixture::new();
    fixture.home("script", b"#!/bin/sh\n");
    let path = fixture.base.path().join("home/script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    fixture.fetch(&format!("file://{}", path.display())).unwrap();
    assert_eq!(fixture.mode("script"), 0o750);
    let error = fixture.fetch(&path.parent().unwrap().display().to_string()).unwrap_err();
    assert!(error.to_string().ends_with("is not a plain file"));
    nix::unistd::mkfifo(&fixture.sandbox("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = fixture.fetch(fixture.sandbox("pipe").to_str().unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("is not a plain file"));
    let error = fixture.fetch("/no/such/file").unwrap_err();
    assert!(with_causes(&error).contains("No such file"));
}
