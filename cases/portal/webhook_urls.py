"""The addresses of webhooks."""

from django.urls import path

from cases.portal.views.webhooks import (
    WebhookCreateView,
    WebhookDeliveryReplayView,
    WebhookDeliveryView,
    WebhookDetailView,
    WebhookListView,
    WebhookPingView,
    WebhookReplayView,
    WebhookSecretView,
    WebhookSwitchView,
)

ONE = "webhooks/<uuid:webhook_id>/"
DELIVERY = "webhooks/messages/<uuid:delivery_id>/"

urlpatterns = [
    path("webhooks/", WebhookListView.as_view(), name="webhook-list"),
    path("webhooks/new/", WebhookCreateView.as_view(), name="webhook-create"),
    path(ONE, WebhookDetailView.as_view(), name="webhook-detail"),
    path(f"{ONE}switch/", WebhookSwitchView.as_view(), name="webhook-switch"),
    path(f"{ONE}secret/", WebhookSecretView.as_view(), name="webhook-secret"),
    path(f"{ONE}ping/", WebhookPingView.as_view(), name="webhook-ping"),
    path(f"{ONE}replay/", WebhookReplayView.as_view(), name="webhook-replay"),
    path(DELIVERY, WebhookDeliveryView.as_view(), name="webhook-delivery"),
    path(f"{DELIVERY}replay/", WebhookDeliveryReplayView.as_view(), name="webhook-delivery-replay"),
]
