"""The lease protocol: every state of its model, and the model's moves made on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import postgres_cluster
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simulated_clock import SimulatedClock
from unit.ledger.lease_model import Rules, explore, may_acquire
from unit.ledger.lease_model import State as Model
from unit.ledger.ledger_samples import record, window

from otel_bridge.errors import LeaseLost
from otel_bridge.ledger import Lane, open_ledger
from otel_bridge.ledger.leases import Lease, SharedLedger


def test_no_state_of_three_replicas_lets_an_old_holder_commit() -> None:
    found = explore(Rules())
    assert found.problem is None, found.counterexample
    assert found.states > 20_000
    assert found.refusals > 5_000


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (Rules(compares_epoch=False), "a commit under a lease that another one holds"),
        (Rules(locks_row=False), "a commit under a lease that another one holds"),
        (Rules(grows_epoch=False), "two replicas committed under one epoch"),
    ],
    ids=["no comparison", "no lock", "no epoch"],
)
def test_each_rule_of_the_protocol_is_needed(rules: Rules, problem: str) -> None:
    found = explore(rules)
    assert found.problem == problem
    assert any("acquires" in step for step in found.counterexample)


REPLICAS = st.integers(0, 2)
DAY_S = 86_400


class SharedScope(RuleBasedStateMachine):
    """Three replicas on one scope of a real database, which must answer as the model does."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        ledger = open_ledger(postgres_cluster.emptied_database(), SimulatedClock())
        assert isinstance(ledger, SharedLedger)
        self.ledger: SharedLedger = ledger
        self.do(self.ledger.open())
        self.model = Model()
        self.believes: list[Lease | None] = [None, None, None]
        self.committed = 0

    def do(self, call: Any) -> Any:
        return self.runner.run(call)

    def teardown(self) -> None:
        self.do(self.ledger.close())
        self.runner.close()

    @rule(who=REPLICAS)
    def acquire(self, who: int) -> None:
        lease = self.do(self.ledger.acquire("p", "head", f"replica-{who}", DAY_S))
        assert (lease is not None) == may_acquire(self.model)
        if lease is not None:
            assert lease.epoch == self.model.epoch + 1
            self.model = Model(epoch=lease.epoch, holder=who)
            self.believes[who] = lease

    @rule()
    def time_passes(self) -> None:
        postgres_cluster.cluster().sql(
            "UPDATE otel_bridge.leases SET expires_at = now() - interval '1 s'", "bridge"
        )
        self.model = Model(epoch=self.model.epoch, holder=self.model.holder, ran_out=True)

    def is_holder(self, who: int) -> bool:
        lease = self.believes[who]
        return lease is not None and (self.model.holder, self.model.epoch) == (who, lease.epoch)

    @rule(who=REPLICAS)
    def renew(self, who: int) -> None:
        lease = self.believes[who]
        if lease is not None:
            still = self.do(self.ledger.renew([lease], DAY_S))
            assert still == ({lease} if self.is_holder(who) else set())
            if still:
                self.model = Model(epoch=self.model.epoch, holder=who)

    @rule(who=REPLICAS)
    def release(self, who: int) -> None:
        lease = self.believes[who]
        if lease is not None:
            self.do(self.ledger.release([lease]))
            if self.is_holder(who):
                self.model = Model(epoch=self.model.epoch, holder=None, ran_out=True)

    @rule(who=REPLICAS)
    def commit(self, who: int) -> None:
        lease = self.believes[who]
        if lease is None:
            return
        number = self.committed
        commit = self.ledger.under(lease).commit(
            "p", delivered=[record(f"log_{number}", number)], window=window(number, number + 1)
        )
        if self.is_holder(who):
            self.do(commit)
            self.committed += 1
        else:
            with pytest.raises(LeaseLost, match="its head work was handed over to"):
                self.do(commit)

    @invariant()
    def what_was_refused_left_nothing(self) -> None:
        assert len(self.do(self.ledger.windows("p", Lane.LIVE))) == self.committed

    @invariant()
    def the_list_of_leases_says_who_holds_it(self) -> None:
        held = [(each.lease.holder, each.lease.epoch) for each in self.do(self.ledger.leases())]
        assert held == (
            [] if self.model.holder is None else [(f"replica-{self.model.holder}", self.model.epoch)]
        )


TestSharedScope = SharedScope.TestCase
TestSharedScope.settings = settings(
    stateful_step_count=20, max_examples=5, deadline=None, suppress_health_check=list(HealthCheck)
)
