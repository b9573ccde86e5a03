// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// refusesPod reports whether an error is about the pod itself: a policy or a webhook refuses it, or it is not valid.
// A quota, a conflict and anything that can change soon are not.
func refusesPod(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || strings.Contains(err.Error(), "exceeded quota") {
		return false
	}
	switch status.Status().Code {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict,
		http.StatusTooManyRequests:
		return false
	default:
		return status.Status().Code >= http.StatusBadRequest && status.Status().Code < http.StatusInternalServerError
	}
}

// refusedPod is the API server's text before the reason of a refusal.
var refusedPod = regexp.MustCompile(`^pods? "[^"]*" is (forbidden|invalid): `)

// reasonOf returns why a pod was refused, or an empty text for nil.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if reason := refusedPod.ReplaceAllString(err.Error(), ""); reason != "" {
		return reason
	}
	return "refused without a reason"
}
