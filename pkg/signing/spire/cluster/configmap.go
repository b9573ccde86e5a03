// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// WithoutConfigMap is the warning for a cluster without ConfigMap config-spire.
func WithoutConfigMap(namespace string) string {
	d := config.Default()
	return fmt.Sprintf("namespace %s has no ConfigMap %s, so Tekton's defaults apply: trust domain %s, server %s; "+
		"if SPIRE has others, create the ConfigMap with the keys %s and %s",
		namespace, config.ConfigMapName, d.TrustDomain, d.ServerAddr, config.KeyTrustDomain, config.KeyServerAddr)
}
