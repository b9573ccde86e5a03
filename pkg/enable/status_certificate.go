// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// serverCertificate is the key of the Secret that holds the certificate (knative.dev/pkg/webhook/certificates).
const serverCertificate = "server-cert.pem"

// renewal is how long before its end the certificate is renewed at the latest: a day, and some time to do it.
const renewal = 20 * time.Hour

// certificate looks whether the API server can trust the add-on: until when its certificate is valid, and whether the
// authority in the webhook configurations vouches for it. Whoever may not read the Secret is told the authority's end.
func (l *look) certificate(ctx context.Context) {
	authority, err := l.authority(ctx)
	if err != nil {
		return // the configuration cannot be read, or is missing, which the objects' checks tell
	}
	roots, ends := certificatesIn(authority)
	secret, err := l.Kube.CoreV1().Secrets(manifests.Namespace).Get(ctx, manifests.CertificateSecret, metav1.GetOptions{})
	object := own("", "Secret", manifests.CertificateSecret)
	switch {
	case apierrors.IsNotFound(err):
		return // as above
	case IsForbidden(err):
		if !ends.IsZero() {
			l.note(status.PartAddOn, status.CheckCertificate, "its authority is valid until %s (you may not read %s, which tells the rest)", timeOf(ends), object)
		}
		return
	case err != nil:
		l.unreadable(status.PartAddOn, status.CheckCertificate, object.String(), err)
		return
	}
	l.add(l.certificateCheck(secret.Data[serverCertificate], roots, object))
}

func (l *look) certificateCheck(data []byte, roots *x509.CertPool, object *status.Object) status.Check {
	now := l.options.Now()
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckCertificate, Status: verify.Fail, Object: object,
		Message: "the API server cannot trust the webhooks, and does not call them",
		Next:    "kubectl rollout restart -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
	}
	block, _ := pem.Decode(data)
	if block == nil {
		check.Expected, check.Got = "a certificate", "none"
		return check
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		check.Expected, check.Got = "a certificate", err.Error()
		return check
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: manifests.WebhookHost, CurrentTime: now}); err != nil {
		check.Expected, check.Got = "a certificate for "+manifests.WebhookHost+" by the authority of the webhook configurations", err.Error()
		return check
	}
	check.Message = fmt.Sprintf("valid until %s", timeOf(certificate.NotAfter))
	if certificate.NotAfter.Sub(now) < renewal {
		check.Status, check.Message = verify.Warn, check.Message+": it should have been renewed"
		return check
	}
	check.Status, check.Object, check.Next = verify.Pass, nil, ""
	return check
}

// authority returns the certificate authority, in PEM, with which the API server calls the status webhook.
func (l *look) authority(ctx context.Context) ([]byte, error) {
	object, err := l.readObject(ctx, webhooksNamed(manifests.StatusWebhook))
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(authorityOf(object))
}

// certificatesIn returns the certificates of a PEM bundle, and when the last of them ends.
func certificatesIn(bundle []byte) (*x509.CertPool, time.Time) {
	pool, ends := x509.NewCertPool(), time.Time{}
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // it vouches for nothing
		}
		pool.AddCert(certificate)
		if certificate.NotAfter.After(ends) {
			ends = certificate.NotAfter
		}
	}
	return pool, ends
}
