"""Short names keep strategies apart."""

from tokenbench_reports.sentences import tell_apart

LONG = "clse:temp=0.2:cutoff=0.{}:layers=1/11/21:kv={}"


def test_variants_lose_what_they_share_then_the_settings_names():
    names = [LONG.format(3, "keep"), LONG.format(3, "drop"), LONG.format(5, "keep")]
    assert list(tell_apart(names, 26).values()) == [
        "clse:…:cutoff=0.3:kv=keep",
        "clse:…:cutoff=0.3:kv=drop",
        "clse:…:cutoff=0.5:kv=keep",
    ]
    assert list(tell_apart(names, 17).values()) == ["clse:…:0.3:keep", "clse:…:0.3:drop", "clse:…:0.5:keep"]


def test_no_two_names_are_alike_and_all_fit():
    names = ["x" * 30 + str(at) + "y" * 30 for at in range(12)] + ["fastv", "", "a\nb", "a b"]
    short = tell_apart(names, 14)
    assert len(set(short.values())) == len(names)
    assert max(map(len, short.values())) <= 14
    assert short["fastv"] == "fastv"
