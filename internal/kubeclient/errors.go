// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
)

// IsClusterError reports whether err came from the cluster or the connection to it, and not from the request
// itself.
func IsClusterError(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) || IsNetworkError(err)
}

// IsNetworkError reports whether the cluster could not be reached.
func IsNetworkError(err error) bool {
	var network net.Error
	var address *url.Error
	return errors.As(err, &network) || errors.As(err, &address) || clientcmd.IsEmptyConfig(err)
}
