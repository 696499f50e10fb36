"""The demo's job through the transitions that users make, with the same ledger at the end."""

from dev.demo import flights, run
from dev.demo.story import Story
from dev.demo.watch import Job
from dev.e2e.base import StoryCase
from dev.s3 import install as s3


class FlightsStory(StoryCase):
    def test_kill_rescale_upgrade_suspend_broken_image_and_operator_loss_leave_the_ledger_exact(self) -> None:
        run.install_operator(self.cluster)
        kubectl = self.cluster.kubectl.at(flights.NAMESPACE)
        self.addCleanup(kubectl.run, "delete", "streamjobs", "--all", "--timeout=120s", timeout=150)
        files = flights.days(full=False)
        with s3.connect(self.cluster) as server:
            flights.clear(self.cluster.kubectl, server.client)
            rows = flights.upload(server.client, files)
            story = Story(self.cluster, Job(self.cluster), flights.manifest(), run.SPEED)
            story.apply_first()
            story.kill_worker(0)
            story.scale(3)
            story.kill_worker(1)
            story.edit("an edit of the SQL: MAX(dep_delay) added", flights.with_worst, "upgrade, aggregate added")
            story.suspend_and_resume()
            story.broken_image()
            story.operator_dies_in_upgrade(lambda text: flights.with_rate(text, run.SPEED * 2))
            story.scale(2)
            story.finish(rows)
            verdict = flights.check(server.client, files)
        print(verdict)
        self.assertTrue(verdict.exact, "\n".join([str(verdict), *verdict.examples]))
