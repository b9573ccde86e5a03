// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"fmt"
	"log"
	"os"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// A trust bundle names its clusters and the keys with which each of them signs.
func Example() {
	data, err := os.ReadFile("../../../docs/examples/trust-bundle.json")
	if err != nil {
		log.Fatal(err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		log.Fatal(err)
	}
	cluster, err := bundle.Cluster("") // the only one
	if err != nil {
		log.Fatal(err)
	}
	for _, issuer := range cluster.ServiceAccountIssuers {
		for _, key := range issuer.Keys {
			fmt.Println(issuer.Issuer, key.JWK.Algorithm, key.NotAfter.IsZero())
		}
	}
	// Output:
	// https://kubernetes.default.svc.cluster.local RS256 true
}
