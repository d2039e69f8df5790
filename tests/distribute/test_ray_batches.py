"""How batches are handed out and taken back, with workers that are no processes."""

import pytest

from facesearch import distribute as on_ray
from facesearch.errors import FacesearchError, ModelBroken
from facesearch.faces import FileState, PhotoFaces, Status


class ActorError(Exception):
    pass


class TaskError(Exception):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Exceptions:
    RayActorError, RayTaskError = ActorError, TaskError


class Ray:
    """Runs what is asked for when its result is fetched, as late as may be."""

    exceptions = Exceptions

    def __init__(self):
        self.fetched = self.asked = self.most = 0

    def get(self, asked):
        self.fetched += 1
        return asked()


class Head:
    """A cluster's head that fails so many times to serve a client, as Ray's now and then does."""

    def __init__(self, failures, error):
        self.failures, self.error, self.tries = failures, error, 0

    def init(self, address, **options):
        self.tries += 1
        if self.failures:
            self.failures -= 1
            raise self.error

    def shutdown(self):
        pass


class Looker:
    def __init__(self, ray, deadly=(), fails=None):
        self.ray, self.deadly, self.fails, self.batches = ray, set(deadly), fails, []
        self.look = self

    def remote(self, paths, known):
        self.ray.asked += 1
        self.ray.most = max(self.ray.most, self.ray.asked - self.ray.fetched)
        self.batches.append(paths)

        def result():
            if self.fails:
                raise TaskError(self.fails)
            if self.deadly.intersection(paths):
                raise ActorError("died")
            return [PhotoFaces(path, FileState(1, 2, 3, path.encode()), Status.NO_FACE) for path in paths]

        return result


def paths(count):
    return [f"/p/{number}" for number in range(count)]


def looked_at(ray, workers, count):
    return list(on_ray._looked_at(ray, workers, iter(paths(count)), frozenset()))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_each_photo_comes_back_once_in_order(count):
    ray = Ray()
    workers = [Looker(ray), Looker(ray)]
    assert [photo.path for photo in looked_at(ray, workers, count)] == paths(count)


def test_no_more_is_handed_out_than_workers_can_have_waiting():
    ray = Ray()
    workers = [Looker(ray), Looker(ray)]
    looked_at(ray, workers, 2000)
    assert ray.most == 2 * on_ray.WAITING
    assert abs(len(workers[0].batches) - len(workers[1].batches)) <= 1


def test_a_photo_at_which_workers_die_costs_itself_alone():
    ray = Ray()
    workers = [Looker(ray, deadly=["/p/40"]), Looker(ray, deadly=["/p/40"])]
    found = looked_at(ray, workers, 100)
    assert [photo.path for photo in found] == paths(100)
    assert [photo.path for photo in found if photo.status is Status.UNREADABLE] == ["/p/40"]
    assert found[40].file.mtime_ns == -1  # tried again by the next run
    assert found[40].reason == "Workers died looking at it."


def test_what_a_worker_says_is_said():
    ray = Ray()
    with pytest.raises(ModelBroken, match="is broken") as raised:
        looked_at(ray, [Looker(ray, fails=ModelBroken("It is broken.", "Fetch it."))], 3)
    assert raised.value.hint == "Fetch it."
    with pytest.raises(FacesearchError, match="A worker failed: OSError: no disk"):
        looked_at(ray, [Looker(ray, fails=OSError("no disk"))], 3)


def test_a_head_that_fails_to_serve_a_client_is_asked_again():
    head = Head(2, ConnectionAbortedError("Initialization failure from server"))
    on_ray._connect(head, "ray://head:10001")
    assert head.tries == 3


def test_a_cluster_of_its_own_that_starts_too_slowly_is_started_again():
    slow = Exception("The node timed out. This could happen.")
    head = Head(2, slow)
    on_ray._connect(head, "ray")
    assert head.tries == 3
    with pytest.raises(
        FacesearchError,
        match=r"Ray does not start on this machine: The node timed out. This could happen\. Run",
    ):
        on_ray._connect(Head(9, slow), "ray")


@pytest.mark.parametrize(
    ("error", "tries"),
    [(ConnectionAbortedError("Initialization failure\nTraceback"), 3), (ConnectionError("timeout"), 1)],
)
def test_a_cluster_that_cannot_be_had_is_said_in_a_line(error, tries):
    head = Head(9, error)
    said = r"no Ray cluster to be had at 'ray://head:10001': [\w ]+\. Look"
    with pytest.raises(FacesearchError, match=said) as raised:
        on_ray._connect(head, "ray://head:10001")
    assert head.tries == tries
    assert "ray status" in raised.value.hint
