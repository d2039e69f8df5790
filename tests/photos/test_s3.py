"""An S3-compatible server on loopback: indexed, queried, moved and refused as a folder on disk would be."""

import json
import logging
import os

import boto3
import pytest
from moto.server import ThreadedMotoServer
from support.command import CURIE, LIBRARY, OBAMA, Tool

pytestmark = pytest.mark.slow

BUCKET = "library"
ROOT = f"s3://{BUCKET}/photos"
NAMES = (
    "obama_2009.jpg",
    "obama_2010.jpg",
    "biden.jpg",
    "grace_hopper.jpg",
    "chelsea.png",
    "solvay_1927.jpg",
)


@pytest.fixture(scope="module")
def server():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server):
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=server, **keys).Bucket(BUCKET)
    bucket.create()
    for name in NAMES:
        bucket.upload_file(str(LIBRARY / name), f"photos/{name}")
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


@pytest.fixture
def tool(tmp_path, model_store, server):
    tool = Tool(tmp_path, model_store.root)
    tool.env |= {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "FACESEARCH_MODEL": "sface",
        "FACESEARCH_INDEX": str(tmp_path / "s3.npz"),
    }
    return tool


def test_a_bucket_is_a_folder(tool, bucket, tmp_path):
    done = tool.run("index", ROOT)
    assert (done.status, done.err.split(" in ")[0]) == (0, "5 indexed, 1 without a face")
    assert tool.run("index", ROOT + "/").err.startswith("6 unchanged")
    assert tool.run("query", OBAMA, "--top", "2").names == ["obama_2010.jpg", "obama_2009.jpg"]
    by_url = tool.run("query", f"{ROOT}/obama_2009.jpg", "--top", "1")
    assert by_url.rows[0][0] == f"{ROOT}/obama_2009.jpg"
    assert by_url.rows[0][4] == f"{ROOT}/obama_2010.jpg"
    # As from disk, bit by bit.
    for name in NAMES:
        (tmp_path / "disk").mkdir(exist_ok=True)
        os.link(LIBRARY / name, tmp_path / "disk" / name)
    tool.run("index", tmp_path / "disk", "--index", "disk.npz")
    one, other = (
        json.loads(tool.run("query", CURIE, "--json", "--top", "9", "--index", name).text)["results"][0][
            "matches"
        ]
        for name in ("s3.npz", "disk.npz")
    )
    assert [{**match, "path": os.path.basename(match["path"])} for match in one] == [
        {**match, "path": os.path.basename(match["path"])} for match in other
    ]


def test_what_is_done_with_the_photos(tool, bucket, tmp_path):
    tool.run("index", ROOT)
    page, folder = tmp_path / "page.html", tmp_path / "found"
    done = tool.run("query", OBAMA, "--top", "2", "--html", page, "--sheet", "s.jpg", "--copy-to", folder)
    assert done.status == 0, done
    assert sorted(os.listdir(folder)) == ["obama_2009.jpg", "obama_2010.jpg"]
    assert (folder / "obama_2009.jpg").read_bytes() == (LIBRARY / "obama_2009.jpg").read_bytes()
    assert f'href="{ROOT}/obama_2009.jpg"' in page.read_text()
    done = tool.run("query", OBAMA, "--link-to", folder)
    assert done.status == 2
    assert "A photo at a URL cannot be linked to.\nCopy the photos with --copy-to instead." in done.err
    assert tool.run("people", "-q").rows[0][2] == "2"
    assert tool.run("people", "name", f"{ROOT}/biden.jpg#1", "Joe").status == 0


def test_moved_new_and_gone_objects(tool, bucket):
    tool.run("index", ROOT)
    bucket.Object("photos/deep/b.jpg").copy({"Bucket": BUCKET, "Key": "photos/biden.jpg"})
    bucket.Object("photos/biden.jpg").delete()
    bucket.Object("photos/chelsea.png").delete()
    bucket.upload_file(str(OBAMA), "photos/new.jpg")
    done = tool.run("index", ROOT)
    assert done.err.startswith("1 indexed, 4 unchanged, 1 moved, 1 removed"), done
    bucket.objects.all().delete()
    done = tool.run("index", ROOT)
    assert done.status == 2
    assert "No such file or directory. What the index has of it was kept." in done.err
    assert tool.run("info", "--json").text.count("obama_2009") == 0
    assert json.loads(tool.run("info", "--json").text)["photos"] == 6


def test_a_copy_under_another_url_is_not_embedded_again(tool, bucket):
    tool.run("index", ROOT)
    bucket.Object("again/b.jpg").copy({"Bucket": BUCKET, "Key": "photos/biden.jpg"})
    done = tool.run("index", f"s3://{BUCKET}/again")
    assert done.err.startswith("1 copied from known photos"), done


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://no-such-bucket/x", "cannot be read: "),
        (f"s3://{BUCKET}/nowhere", "No such file or directory"),
    ],
)
def test_what_is_not_there_is_said(tool, bucket, address, said):
    done = tool.run("index", address)
    assert done.status == 2
    assert address in done.err
    assert said in done.err


def test_a_server_that_is_away_keeps_what_is_known(tool, bucket):
    tool.run("index", ROOT)
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    done = tool.run("index", ROOT, env=away, timeout=200)
    assert done.status == 2
    assert "What the index has of it was kept." in done.err
    assert json.loads(tool.run("info", "--json").text)["photos"] == 6
    assert tool.run("query", OBAMA, "--top", "1").names == ["obama_2010.jpg"]
