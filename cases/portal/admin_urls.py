"""The addresses of what administrators look after: people, sites, tokens, opened identities."""

from django.urls import path

from cases.portal.views.audit import AuditExportView
from cases.portal.views.openings import IdentityCloseView, IdentityOpenView, IdentityStateView
from cases.portal.views.overview import (
    OverviewLiveView,
    OverviewRetryView,
    OverviewView,
    OverviewWatchView,
)
from cases.portal.views.passwords import PasswordChooseView
from cases.portal.views.people import (
    UserCloseView,
    UserCreateView,
    UserDetailView,
    UserFactorsView,
    UserListView,
    UserMoveView,
    UserOpenView,
    UserPasswordView,
    UserRolesView,
    UserUnlockView,
)
from cases.portal.views.sites import SiteCreateView, SiteDetailView, SiteListView
from cases.portal.views.tokens import TokenListView, TokenRevokeView

ONE = "people/<uuid:user_id>/"
IDENTITY = "cases/<uuid:case_id>/identity/"

urlpatterns = [
    path("overview/", OverviewView.as_view(), name="overview"),
    path("overview/live/", OverviewLiveView.as_view(), name="overview-live"),
    path("overview/watch/", OverviewWatchView.as_view(), name="overview-watch"),
    path("overview/retry/", OverviewRetryView.as_view(), name="overview-retry"),
    path("people/", UserListView.as_view(), name="user-list"),
    path("people/new/", UserCreateView.as_view(), name="user-create"),
    path(ONE, UserDetailView.as_view(), name="user-detail"),
    path(f"{ONE}roles/", UserRolesView.as_view(), name="user-roles"),
    path(f"{ONE}password/", UserPasswordView.as_view(), name="user-password"),
    path(f"{ONE}unlock/", UserUnlockView.as_view(), name="user-unlock"),
    path(f"{ONE}factors/", UserFactorsView.as_view(), name="user-factors"),
    path(f"{ONE}close/", UserCloseView.as_view(), name="user-close"),
    path(f"{ONE}open/", UserOpenView.as_view(), name="user-open"),
    path(f"{ONE}move/", UserMoveView.as_view(), name="user-move"),
    path("sites/", SiteListView.as_view(), name="site-list"),
    path("sites/new/", SiteCreateView.as_view(), name="site-create"),
    path("sites/<uuid:site_id>/", SiteDetailView.as_view(), name="site-detail"),
    path("tokens/", TokenListView.as_view(), name="token-list"),
    path("tokens/<uuid:token_id>/revoke/", TokenRevokeView.as_view(), name="token-revoke"),
    path("password/", PasswordChooseView.as_view(), name="password-choose"),
    path("audit/export.csv", AuditExportView.as_view(), name="audit-export"),
    path(IDENTITY, IdentityOpenView.as_view(), name="identity-open"),
    path(f"{IDENTITY}close/", IdentityCloseView.as_view(), name="identity-close"),
    path(f"{IDENTITY}state/", IdentityStateView.as_view(), name="identity-state"),
]
