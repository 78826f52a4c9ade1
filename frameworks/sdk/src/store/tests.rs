use ensemble::Ensemble;

use super::*;
use crate::Instance;
use protocol::causes::with_causes;

fn id(value: &str) -> FrameworkId {
    FrameworkId { value: value.to_owned(), ..Default::default() }
}

/// What every store promises.
async fn keeps_what_it_is_given(place: &str) {
    let store = Store::open(place).await.unwrap();
    assert_eq!(store.framework_id(), None);
    store.keep_framework_id(&id("F-1")).await.unwrap();
    let changes = vec![Change::set("task/1", "one"), Change::set("framework-id", "a record")];
    store.commit(changes).await.unwrap();
    store
        .commit(vec![Change::remove("task/1"), Change::set("task/2", vec![0, 255])])
        .await
        .unwrap();
    drop(store);

    let store = reopened(place).await;
    assert_eq!(store.framework_id(), Some(id("F-1")));
    let expected = [("framework-id", b"a record".to_vec()), ("task/2", vec![0, 255])];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(store.load().await.unwrap(), BTreeMap::from(expected));
    store.clear().await.unwrap();
    assert_eq!((store.framework_id(), store.load().await.unwrap()), (None, BTreeMap::new()));
}

/// The lock of a file goes a moment after its last holder, if a process is being started meanwhile: that
/// one holds it too until it executes another program.
async fn reopened(place: &str) -> Store {
    loop {
        match Store::open(place).await {
            Err(StoreError::Failed { source: RegistryError::InUse { .. }, .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_file_keeps_what_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store").display().to_string();
    keeps_what_it_is_given(&place).await;
    let store = reopened(&place).await;
    let error = Store::open(&place).await.unwrap_err();
    assert!(error.to_string().contains(&place), "{error}");
    assert!(with_causes(&error).contains("in use by another process"), "{error:?}");
    drop(store);
}

#[tokio::test]
async fn an_ensemble_keeps_what_it_is_given_and_the_last_instance_has_it() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let place = ensemble.url_as("me:secret", "/frameworks/example");
    keeps_what_it_is_given(&place).await;
    let first = Store::open(&place).await.unwrap();
    let second = Store::open(&place).await.unwrap();
    second.commit(vec![Change::set("key", "second")]).await.unwrap();
    let error = first.commit(vec![Change::set("key", "first")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Deposed { .. }), "{error:?}");
    assert!(error.to_string().contains("/frameworks/example"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(second.load().await.unwrap()["key"], b"second");
}

#[tokio::test]
async fn an_instance_that_was_deposed_writes_nothing() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let place = ensemble.url("/frameworks/example");
    let first = Instance::start(&place, "10.0.0.1:80").unwrap();
    let first_epoch = first.elected().await.unwrap();
    let store = Store::open_elected(&place, first_epoch).await.unwrap();
    store.commit(vec![Change::set("key", "first")]).await.unwrap();
    first.withdraw().await;
    let second = Instance::start(&place, "10.0.0.2:80").unwrap();
    let successor = Store::open_elected(&place, second.elected().await.unwrap()).await.unwrap();
    assert_eq!(successor.load().await.unwrap()["key"], b"first");
    let late = store.commit(vec![Change::set("key", "late")]).await;
    assert!(matches!(late, Err(StoreError::Deposed { .. })), "{late:?}");
    let again = Store::open_elected(&place, first_epoch).await;
    assert!(matches!(again, Err(StoreError::Deposed { .. })), "{again:?}");
    assert_eq!(successor.load().await.unwrap()["key"], b"first");
}

#[tokio::test]
async fn places_that_are_none_are_told() {
    let error = Store::open("zk://host/path").await.unwrap_err();
    assert!(with_causes(&error).contains("expected host:port"), "{error:?}");
    let error = Store::open("/proc/no-such-folder").await.unwrap_err();
    assert!(error.to_string().contains("/proc/no-such-folder"), "{error}");
}
