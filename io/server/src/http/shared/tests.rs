//! Renderings with readers of different paces.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::http::compression::decompress;

const CHUNKS: u32 = 400;

/// A body of numbered pieces with its first reader, and how often it was rendered.
fn body() -> (Arc<Shared>, SharedBody, Arc<AtomicUsize>) {
    body_of(Coding::Identity, numbered)
}

/// A body of such pieces, likewise.
fn body_of(
    coding: Coding,
    piece: fn(u32) -> Vec<u8>,
) -> (Arc<Shared>, SharedBody, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let (shared, first) = Shared::start(coding, move |mut output: Output| {
        counted.fetch_add(1, Ordering::Relaxed);
        for number in 0..CHUNKS {
            if !output.push(piece(number)) {
                return;
            }
        }
        output.finish(b"end".to_vec());
    });
    (shared, first, count)
}

fn numbered(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(256)
}

/// A piece that stays as large when it is compressed (xorshift, Marsaglia 2003).
fn incompressible(number: u32) -> Vec<u8> {
    let mut state = number + 1;
    let words = (0..4096).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    });
    words.flat_map(u32::to_le_bytes).collect()
}

fn expected() -> Vec<u8> {
    expected_of(numbered)
}

fn expected_of(piece: fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..CHUNKS).flat_map(piece).chain(*b"end").collect()
}

async fn read(mut body: SharedBody, pause: Duration) -> Result<Vec<u8>, GivenUp> {
    let mut all = Vec::new();
    while let Some(chunk) = poll_fn(|context| body.poll_chunk(context)).await {
        all.extend_from_slice(&chunk?);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(all)
}

#[tokio::test]
async fn equal_readers_share_one_rendering() -> Result<(), Box<dyn std::error::Error>> {
    let (shared, first, count) = body();
    let others: Vec<_> = (0..9).filter_map(|_| shared.join()).collect();
    assert_eq!(others.len(), 9);
    let tasks: Vec<_> = others
        .into_iter()
        .chain([first])
        .map(|body| tokio::spawn(read(body, Duration::ZERO)))
        .collect();
    for task in tasks {
        assert_eq!(task.await??, expected());
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(shared.join().is_none(), "its beginning is gone");
    Ok(())
}

#[tokio::test]
async fn a_slow_reader_goes_on_alone_and_gets_the_same() -> Result<(), Box<dyn std::error::Error>> {
    let (shared, quick, count) = body();
    let slow = shared.join().ok_or("joins")?;
    let quick = tokio::spawn(read(quick, Duration::ZERO));
    let slow = tokio::spawn(read(slow, Duration::from_millis(3)));
    assert_eq!(quick.await??, expected());
    assert_eq!(slow.await??, expected());
    assert_eq!(count.load(Ordering::Relaxed), 2);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_stands_still_is_waited_for_once() -> Result<(), Box<dyn std::error::Error>> {
    let (shared, quick, _) = body();
    let still = shared.join().ok_or("joins")?;
    assert_eq!(tokio::spawn(read(quick, Duration::ZERO)).await??, expected());
    // The one pause was when the window was full; the rest was rendered as if it were not there.
    assert!(shared.lock().readers[&still.id].left_behind);
    assert!(shared.lock().lag < LAG_MAX);
    assert_eq!(shared.lock().readers[&still.id].position, 0);
    assert_eq!(read(still, Duration::ZERO).await?, expected());
    Ok(())
}

#[tokio::test]
async fn a_rendering_without_readers_ends() -> Result<(), Box<dyn std::error::Error>> {
    let (shared, reader, count) = body();
    drop(reader);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&shared) > 1 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(Arc::strong_count(&shared), 1, "the rendering let go");
    assert!(count.load(Ordering::Relaxed) <= 1);
    assert!(shared.lock().chunks.len() <= WINDOW_CHUNKS_MAX);
    Ok(())
}

#[tokio::test]
async fn a_rendering_that_fails_is_no_end() {
    let (_, reader) = Shared::start(Coding::Identity, |mut output: Output| {
        output.push(vec![1]);
        std::panic::resume_unwind(Box::new("it failed"));
    });
    assert_eq!(read(reader, Duration::ZERO).await, Err(GivenUp));
}

#[tokio::test]
async fn a_rendering_that_is_not_finished_is_no_end() {
    for coding in [Coding::Identity, Coding::Gzip] {
        let (_, reader) = Shared::start(coding, |mut output: Output| {
            output.push(vec![1]);
        });
        assert_eq!(read(reader, Duration::ZERO).await, Err(GivenUp));
    }
}

#[tokio::test]
async fn readers_share_one_compression() -> Result<(), Box<dyn std::error::Error>> {
    let (shared, first, count) = body_of(Coding::Gzip, incompressible);
    assert_eq!(first.coding(), Coding::Gzip);
    let second = shared.join().ok_or("joins")?;
    let second = tokio::spawn(read(second, Duration::ZERO));
    let first = tokio::spawn(read(first, Duration::ZERO));
    let (first, second) = (first.await??, second.await??);
    assert!(first == second);
    let expected = expected_of(incompressible);
    assert!(decompress(&first, expected.len())? == expected);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::test]
async fn a_slow_reader_of_compressed_pieces_gets_the_same() -> Result<(), Box<dyn std::error::Error>>
{
    let (shared, quick, count) = body_of(Coding::Gzip, incompressible);
    let slow = shared.join().ok_or("joins")?;
    let quick = tokio::spawn(read(quick, Duration::ZERO));
    let slow = tokio::spawn(read(slow, Duration::from_millis(10)));
    assert!(quick.await?? == slow.await??);
    assert_eq!(count.load(Ordering::Relaxed), 2, "it went on alone");
    Ok(())
}

#[tokio::test]
async fn little_is_kept_of_what_compresses_well() -> Result<(), Box<dyn std::error::Error>> {
    let (_, reader, _) = body_of(Coding::Gzip, numbered);
    let packed = read(reader, Duration::ZERO).await?;
    assert!(packed.len() < expected().len() / 10, "{} bytes", packed.len());
    assert_eq!(decompress(&packed, expected().len())?, expected());
    Ok(())
}

#[tokio::test]
async fn what_is_enclosed_is_so_in_each_coding() -> Result<(), Box<dyn std::error::Error>> {
    let render = |output: Output| {
        let mut output = output.enclosed(b"call(".to_vec(), b")");
        output.push(b"{".to_vec());
        output.finish(b"}".to_vec());
    };
    let (_, plain) = Shared::start(Coding::Identity, render);
    assert_eq!(read(plain, Duration::ZERO).await?, b"call({})");
    let (_, packed) = Shared::start(Coding::Gzip, render);
    assert_eq!(decompress(&read(packed, Duration::ZERO).await?, 8)?, b"call({})");
    Ok(())
}
