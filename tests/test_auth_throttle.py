"""The login limits: who has to wait, how long, and what is forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from interactd.auth.throttle import Throttle, origin
from interactd.errors import TooMany

HERE = "192.0.2.1"


class ThrottleTests(SynchronousTestCase):
    """Ten failures in ten minutes, unless a test says otherwise."""

    def setUp(self) -> None:
        self.throttle = Throttle(10, 600.0)

    def fail_login(self, now: float, account: str = "ann", address: str = HERE, known: bool = True, times: int = 1) -> None:
        for _ in range(times):
            self.throttle.failed(now, self.throttle.admit(now, account, address, known))

    def wait(self, now: float, account: str = "ann", address: str = HERE, known: bool = True) -> int:
        """Seconds a login would have to wait now; 0 when it is let in (and ends without outcome)."""
        try:
            self.throttle.left(self.throttle.admit(now, account, address, known))
        except TooMany as refused:
            assert refused.retry_after is not None
            return refused.retry_after
        return 0

    def test_ten_failures_and_then_a_wait_that_runs_down(self) -> None:
        self.fail_login(0.0, times=9)
        self.assertEqual(self.wait(1.0), 0)
        self.fail_login(1.0)
        self.assertEqual(self.wait(1.0), 600)
        self.assertEqual(self.wait(300.5), 301)
        self.assertEqual(self.wait(600.9), 1)
        self.assertEqual(self.wait(601.0), 0)

    def test_trying_while_one_must_wait_does_not_lengthen_the_wait(self) -> None:
        self.fail_login(0.0, times=10)
        for second in range(600):
            self.assertEqual(self.wait(float(second)), 600 - second)
        self.assertEqual(self.wait(600.0), 0)

    def test_waits_in_a_row_grow_up_to_six_windows(self) -> None:
        now, waits = 0.0, []
        for _ in range(5):
            self.fail_login(now, times=10)
            waits.append(self.wait(now))
            now += waits[-1]
        self.assertEqual(waits, [600, 1200, 2400, 3600, 3600])

    def test_a_quiet_time_as_long_as_the_longest_wait_ends_the_growth(self) -> None:
        self.fail_login(0.0, times=10)
        self.fail_login(4201.0, times=10)
        self.assertEqual(self.wait(4201.0), 600)

    def test_just_short_of_that_the_growth_goes_on(self) -> None:
        self.fail_login(0.0, times=10)
        self.fail_login(4199.0, times=10)
        self.assertEqual(self.wait(4199.0), 1200)

    def test_failures_older_than_the_window_do_not_count(self) -> None:
        self.fail_login(0.0, times=9)
        self.fail_login(600.0, times=9)
        self.assertEqual(self.wait(600.0), 0)
        self.fail_login(600.0)
        self.assertEqual(self.wait(600.0), 600)

    def test_an_address_is_limited_whatever_accounts_it_tries(self) -> None:
        for number in range(10):
            self.fail_login(0.0, account=f"user {number}")
        self.assertEqual(self.wait(0.0, account="nobody yet"), 600)
        self.assertRaises(TooMany, self.throttle.screen, 0.0, HERE)
        self.assertEqual(self.wait(0.0, account="nobody yet", address="192.0.2.2"), 0)

    def test_guessing_from_elsewhere_never_delays_a_known_address(self) -> None:
        for number in range(1000):
            try:
                self.fail_login(float(number), address=f"198.51.100.{number % 250}", known=False)
            except TooMany:
                pass
            self.assertEqual(self.wait(float(number), known=True), 0)

    def test_guessing_from_many_addresses_slows_new_addresses_and_the_wait_grows_to_a_window(self) -> None:
        now, waits = 0.0, []
        for round_ in range(6):
            for number in range(10):
                self.fail_login(now, address=f"10.{round_}.0.{number}", known=False)
            waits.append(self.wait(now, address="203.0.113.9", known=False))
            now += waits[-1]
        self.assertEqual(waits, [60, 120, 240, 480, 600, 600])
        self.assertEqual(self.wait(now, account="ben", address="203.0.113.9", known=False), 0)

    def test_failures_at_a_known_address_do_not_slow_new_addresses(self) -> None:
        for number in range(20):
            self.fail_login(0.0, address=f"10.0.0.{number}", known=True)
        self.assertEqual(self.wait(0.0, address="203.0.113.9", known=False), 0)

    def test_a_right_password_forgets_the_failures_of_its_account_and_address_only(self) -> None:
        self.fail_login(0.0, account="ben")
        self.fail_login(0.0, times=8)
        self.throttle.passed(self.throttle.admit(0.0, "ann", HERE, True))
        self.fail_login(0.0, times=8)
        self.assertEqual(self.wait(0.0), 0, "ann's slips were forgiven at the address too")
        self.fail_login(0.0, account="ben")
        self.assertEqual(self.wait(0.0), 600, "ben's were not: the address has failed ten times")
        self.assertEqual(self.wait(0.0, address="192.0.2.2"), 0)

    def test_an_office_whose_people_slip_and_then_get_it_right_is_not_shut_out(self) -> None:
        for number in range(50):
            self.fail_login(0.0, account=f"user {number}", known=False, times=2)
            self.throttle.passed(self.throttle.admit(0.0, f"user {number}", HERE, False))
        self.assertEqual((self.wait(0.0), len(self.throttle)), (0, 0))

    def test_a_right_password_after_a_wait_that_its_own_slips_began_ends_the_growth(self) -> None:
        self.fail_login(0.0, times=10)
        self.throttle.passed(self.throttle.admit(600.0, "ann", HERE, True))
        self.fail_login(600.0, times=10)
        self.assertEqual(self.wait(600.0), 600)

    def test_a_new_password_lets_the_one_who_slipped_in_at_once(self) -> None:
        self.fail_login(0.0, known=False, times=10)
        self.throttle.forgive("ann", "192.0.2.9")
        self.assertEqual(self.wait(0.0), 600, "set from elsewhere")
        self.throttle.forgive("ann", HERE)
        self.assertEqual((self.wait(0.0, known=False), len(self.throttle)), (0, 0))

    def test_a_new_password_does_not_end_a_wait_that_guesses_at_others_began(self) -> None:
        self.fail_login(0.0, account="ben")
        self.fail_login(0.0, times=9)
        self.throttle.forgive("ann", HERE)
        self.assertEqual(self.wait(0.0), 600)

    def test_a_right_password_does_not_let_an_address_guess_on_at_other_accounts(self) -> None:
        for number in range(10):
            self.fail_login(0.0, account=f"victim {number}")
            if number < 9:
                self.throttle.passed(self.throttle.admit(0.0, "the guesser's own", HERE, True))
        self.assertEqual(self.wait(0.0, account="victim"), 600)

    def test_attempts_under_way_count_until_they_end(self) -> None:
        under_way = [self.throttle.admit(0.0, "ann", HERE, True) for _ in range(10)]
        self.assertEqual(self.wait(0.0), 1)
        self.throttle.left(under_way.pop())
        self.assertEqual(self.wait(0.0), 0)
        for attempt in under_way:
            self.throttle.failed(0.0, attempt)
        self.assertEqual(self.wait(0.0), 0)
        self.fail_login(0.0)
        self.assertEqual(self.wait(0.0), 600)

    def test_addresses_of_one_ipv6_network_are_one(self) -> None:
        for number in range(10):
            self.fail_login(0.0, account=f"user {number}", address=f"2001:db8:0:1::{number:x}")
        self.assertEqual(self.wait(0.0, address="2001:db8:0:1:ffff::1"), 600)
        self.assertEqual(self.wait(0.0, address="2001:db8:0:2::1"), 0)

    def test_nothing_is_kept_of_logins_that_went_well(self) -> None:
        for number in range(100):
            self.throttle.passed(self.throttle.admit(0.0, f"user {number}", HERE, False))
        self.assertEqual(len(self.throttle), 0)

    def test_memory_is_bounded_and_the_oldest_count_goes_first(self) -> None:
        throttle = self.throttle = Throttle(10, 600.0, most=50)
        self.fail_login(0.0, times=10)
        for number in range(100):
            self.fail_login(1.0, account=f"user {number}", address=f"10.0.0.{number}")
        self.assertEqual(len(throttle), 50)
        self.assertEqual(self.wait(1.0), 0, "the first was dropped")
        self.assertLessEqual(len(throttle), 50)

    def test_what_says_nothing_any_more_is_dropped(self) -> None:
        for number in range(100):
            self.fail_login(0.0, account=f"user {number}", address=f"10.0.0.{number}")
        self.fail_login(601.0)
        self.assertEqual(len(self.throttle), 2)

    def test_names_and_addresses_do_not_stand_in_what_an_attempt_shows(self) -> None:
        shown = repr(self.throttle.admit(0.0, "canary@example.com", HERE, False)) + repr(self.throttle)
        self.assertNotIn("canary", shown)
        self.assertNotIn(HERE, shown)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3), st.booleans()), max_size=200))
    def test_no_address_ever_gets_more_than_its_failures_in_a_window(self, steps: list[tuple[float, int, bool]]) -> None:
        throttle, now, failures = Throttle(5, 60.0), 0.0, []
        for pause, account, known in steps:
            now += pause
            try:
                throttle.failed(now, throttle.admit(now, f"user {account}", HERE, known))
            except TooMany:
                continue
            failures.append(now)
        for first, sixth in zip(failures, failures[5:]):
            self.assertGreaterEqual(sixth - first, 60.0)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["guess", "own", "slip", "reset"]), st.integers(0, 3)), max_size=200))
    def test_a_password_of_ones_own_buys_no_guess_at_others(self, steps: list[tuple[float, str, int]]) -> None:
        throttle, now, guesses = Throttle(5, 60.0), 0.0, []
        for pause, what, account in steps:
            now += pause
            try:
                if what == "guess":
                    throttle.failed(now, throttle.admit(now, f"victim {account}", HERE, False))
                    guesses.append(now)
                elif what == "own":
                    throttle.passed(throttle.admit(now, "own", HERE, True))
                elif what == "slip":
                    throttle.failed(now, throttle.admit(now, "own", HERE, True))
                else:
                    throttle.forgive("own", HERE)
            except TooMany:
                continue
        for first, sixth in zip(guesses, guesses[5:]):
            self.assertGreaterEqual(sixth - first, 60.0)


class OriginTests(SynchronousTestCase):
    """What an address counts for."""

    def test_origins(self) -> None:
        for address, counts_for in (("192.0.2.1", "192.0.2.1"), ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
                                    ("2001:db8:0:1::/64", "2001:db8:0:1::/64"), ("::ffff:192.0.2.1", "192.0.2.1"),
                                    ("fe80::1%eth0", "fe80::/64"), ("a unix socket", "a unix socket"), ("", "")):
            self.assertEqual(origin(address), counts_for)
