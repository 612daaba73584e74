"""The addresses of webhooks, under `/api/v1/`."""

from django.urls import path

from cases.api.views.webhooks import (
    WebhookDeliveryApi,
    WebhookDeliveryListApi,
    WebhookDeliveryReplayApi,
    WebhookDetailApi,
    WebhookListApi,
    WebhookPingApi,
    WebhookReplayApi,
    WebhookSecretApi,
    WebhookSwitchApi,
)

ONE = "webhooks/<uuid:webhook_id>/"
DELIVERY = "webhooks/deliveries/<uuid:delivery_id>/"

urlpatterns = [
    path("webhooks/", WebhookListApi.as_view(), name="webhook-list"),
    path(ONE, WebhookDetailApi.as_view(), name="webhook-detail"),
    path(f"{ONE}switch/", WebhookSwitchApi.as_view(), name="webhook-switch"),
    path(f"{ONE}secret/", WebhookSecretApi.as_view(), name="webhook-secret"),
    path(f"{ONE}ping/", WebhookPingApi.as_view(), name="webhook-ping"),
    path(f"{ONE}replay/", WebhookReplayApi.as_view(), name="webhook-replay"),
    path(f"{ONE}deliveries/", WebhookDeliveryListApi.as_view(), name="webhook-delivery-list"),
    path(DELIVERY, WebhookDeliveryApi.as_view(), name="webhook-delivery-detail"),
    path(f"{DELIVERY}replay/", WebhookDeliveryReplayApi.as_view(), name="webhook-delivery-replay"),
]
