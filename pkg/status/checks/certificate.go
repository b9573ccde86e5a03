// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// serverCertificate is the key of the Secret that holds the certificate (knative.dev/pkg/webhook/certificates).
const serverCertificate = "server-cert.pem"

// renewal is how long before its end the certificate is renewed at the latest: a day, minus the time that renewing
// takes.
const renewal = 20 * time.Hour

// checkCertificate checks whether the API server can trust the add-on: until when its certificate is valid, and
// whether the authority in the webhook configurations has issued it. Where the user may not read the Secret, only the
// end of the authority is reported. checkObjects reports what is missing.
func checkCertificate(ctx context.Context, c *Cluster) []status.Check {
	authority, err := c.authority(ctx)
	if err != nil {
		return nil // checkObjects reports it
	}
	roots, ends := certificatesIn(authority)
	secrets := c.Clients.Kube.CoreV1().Secrets(manifests.Namespace)
	secret, err := secrets.Get(ctx, manifests.CertificateSecret, metav1.GetOptions{})
	named := own("", "Secret", manifests.CertificateSecret)
	switch {
	case apierrors.IsNotFound(err), enable.IsForbidden(err) && ends.IsZero():
		return nil
	case enable.IsForbidden(err):
		return one(note(status.PartAddOn, status.CheckCertificate,
			"its authority is valid until %s (you may not read %s, which tells the rest)", timeOf(ends), named))
	case err != nil:
		return one(Unreadable(status.PartAddOn, status.CheckCertificate, named.String(), err))
	}
	return one(checkServer(secret.Data[serverCertificate], roots, c.Options.Now(), named))
}

// checkServer checks the certificate with which the add-on answers the API server.
func checkServer(data []byte, roots *x509.CertPool, now time.Time, named *status.Object) status.Check {
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckCertificate, Status: verify.Fail, Object: named,
		Message:  "the API server cannot trust the webhooks, and does not call them",
		Next:     "kubectl rollout restart -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
		Expected: "a certificate", Got: "none",
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return check
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		check.Got = err.Error()
		return check
	}
	host := x509.VerifyOptions{Roots: roots, DNSName: manifests.WebhookHost, CurrentTime: now}
	if _, err := certificate.Verify(host); err != nil {
		check.Expected = "a certificate for " + manifests.WebhookHost + " by the authority of the webhook configurations"
		check.Got = err.Error()
		return check
	}
	check.Expected, check.Got = "", ""
	check.Message = fmt.Sprintf("valid until %s", timeOf(certificate.NotAfter))
	if certificate.NotAfter.Sub(now) < renewal {
		check.Status, check.Message = verify.Warn, check.Message+": it should have been renewed"
		return check
	}
	check.Status, check.Object, check.Next = verify.Pass, nil, ""
	return check
}

// authority returns the certificate authority, in PEM, with which the API server calls the status webhook.
func (c *Cluster) authority(ctx context.Context) ([]byte, error) {
	named := &unstructured.Unstructured{}
	named.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	named.SetName(manifests.StatusWebhook)
	configuration, err := c.read(ctx, named)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(object.Authority(configuration))
}

// certificatesIn returns the certificates of a PEM bundle, and when the last of them ends.
func certificatesIn(bundle []byte) (*x509.CertPool, time.Time) {
	pool, ends := x509.NewCertPool(), time.Time{}
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // nothing is issued by it
		}
		pool.AddCert(certificate)
		if certificate.NotAfter.After(ends) {
			ends = certificate.NotAfter
		}
	}
	return pool, ends
}
