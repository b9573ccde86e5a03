// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// refusesPod reports whether an error is somebody's answer to the pod itself: a policy's or a webhook's, or that
// the pod is not valid. A quota, a conflict, and whatever may be otherwise in a moment are not.
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

// refusedPod is what the API server says of a pod before the words of who refuses it.
var refusedPod = regexp.MustCompile(`^pods? "[^"]*" is (forbidden|invalid): `)

// reasonOf returns why a pod was refused, empty for nil.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if reason := refusedPod.ReplaceAllString(err.Error(), ""); reason != "" {
		return reason
	}
	return "refused without a reason"
}
