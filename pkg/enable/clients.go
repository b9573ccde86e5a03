// SPDX-License-Identifier: Apache-2.0

package enable

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
)

// Clients are the two clients of one API server with which the package works.
type Clients struct {
	Kube    kubeclient.Interface
	Dynamic dynamic.Interface
}

// FieldManager is the manager, on the API server, of the fields that enable sets.
const FieldManager = "tekton-sign"

// IsForbidden reports whether err means that the user lacks a permission.
func IsForbidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }
