"""The caller of a request, as a session makes it known."""

from attrs import field, frozen

from interactd.errors import Forbidden


@frozen
class User:
    """Whose session it is and what it may do; `expires` is ms since 1970, `roles` is never empty."""

    id: int
    email: str = field(repr=False)
    company_id: int | None
    roles: frozenset[str]
    session_id: int
    scope: str
    auth_version: int
    must_change: bool
    expires: int
    region: str | None = None           # of the company: how national and local numbers are read
    area_code: str | None = None

    def demand_own_password(self) -> None:
        """Raise Forbidden as long as the password is the one that the first start invented."""
        if self.must_change:
            raise Forbidden("set a new password first: POST /v2/myAccount?cmd=changePwd with oldPassword and newPassword")
