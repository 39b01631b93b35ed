"""Looking a user up as a server does, once for each algorithm."""

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.ha1s import HA1s
from sbcauth.policy.accounts import User
from sbcauth.users.directory import UserDirectory


def find(directory: UserDirectory, ip_group: str, username: str, realm: str) -> User | None:
    """Return a user with H(A1) for every algorithm, also of the password before."""
    found = {each.value: directory.find(ip_group, username, realm, each) for each in Algorithm}
    user = found["MD5"]
    if user is None:
        return None
    return user._replace(
        ha1s=HA1s({name: one.ha1s.get(name) for name, one in found.items() if one}),
        old_ha1s=HA1s({name: one.old_ha1s.get(name) for name, one in found.items() if one}),
    )
