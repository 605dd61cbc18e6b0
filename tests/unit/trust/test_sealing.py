"""Keys and what is sealed under them."""

import os

import pytest

from atoll.trust.sealing import Sealer, SecretsError, fingerprint, new_key, read_key

OPTIONS = {"auth_type": "v3password", "auth": {"password": "hidden ü"}}


def written(path, text, mode=0o600):
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


def test_what_was_sealed_is_opened_and_cannot_be_read():
    sealer = Sealer([new_key()])
    text, under = sealer.seal(OPTIONS)
    assert sealer.open(text, under) == OPTIONS
    assert "hidden" not in text
    assert sealer.seal(OPTIONS)[0] != text


def test_the_newest_key_seals_and_older_ones_open():
    old, new = new_key(), new_key()
    text, under = Sealer([old]).seal(OPTIONS)
    both = Sealer([new, old])
    assert both.open(text, under) == OPTIONS
    assert both.seal(OPTIONS)[1] == fingerprint(new)
    with pytest.raises(SecretsError, match=under):
        Sealer([new]).open(text, under)


def test_what_was_changed_is_not_opened():
    sealer = Sealer([new_key()])
    text, under = sealer.seal(OPTIONS)
    with pytest.raises(SecretsError, match="changed"):
        sealer.open(text[:-6] + "AAAA==", under)


def test_what_is_missing_is_named_with_what_to_do():
    _, under = Sealer([new_key()]).seal(OPTIONS)
    with pytest.raises(SecretsError, match=r"(?s)" + under + r".*\[secrets\] key"):
        Sealer().check([under])
    with pytest.raises(SecretsError, match=under):
        Sealer([new_key()]).check([under])
    Sealer().check([])
    with pytest.raises(SecretsError, match="new-key"):
        Sealer().seal(OPTIONS)


def test_a_key_comes_from_a_file_or_the_environment(tmp_path):
    key = new_key()
    assert read_key(written(tmp_path / "key", key + "\n"), {}) == key
    assert read_key("env:ATOLL_KEY", {"ATOLL_KEY": key}) == key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_use_is_refused(tmp_path, mode):
    with pytest.raises(SecretsError, match="chmod 600"):
        read_key(written(tmp_path / "key", new_key(), mode), {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(tmp_path):
    reference = written(tmp_path / "key", new_key())
    os.chown(tmp_path / "key", 12345, 12345)
    with pytest.raises(SecretsError, match="another user"):
        read_key(reference, {})


@pytest.mark.parametrize(
    ("reference", "word"),
    [("env:NOT_THERE", "not set"), ("file:/nowhere/key", "new-key"), ("c2VjcmV0", "never itself")],
)
def test_what_is_no_key_is_told(reference, word):
    with pytest.raises(SecretsError, match=word):
        read_key(reference, {})


def test_a_bad_key_is_not_shown(tmp_path):
    with pytest.raises(SecretsError) as refused:
        read_key(written(tmp_path / "key", "almost-a-key"), {})
    assert "almost-a-key" not in str(refused.value)
    key = new_key()
    assert key not in repr(Sealer([key]))
