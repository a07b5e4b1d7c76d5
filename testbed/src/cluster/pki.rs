//! The keys and certificates of one cluster: authorities of its own for the API, for etcd and for the front proxy, as kubeadm
//! makes them, so that a certificate of one is worth nothing at the others.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::files;

/// A certificate and its key, as PEM texts.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// The files of one cluster's keys, and the authority that signs more clients.
pub(crate) struct Pki {
    dir: PathBuf,
    clients: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Makes all keys and certificates of a cluster and writes those that its programs read to `dir`.
    pub(crate) fn create(dir: &Path, service_ip: Ipv4Addr) -> Result<Self> {
        files::private_dir(dir)?;
        let new = Self {
            dir: dir.to_path_buf(),
            clients: authority("testbed-ca")?,
        };
        let etcd = authority("testbed-etcd-ca")?;
        let front_proxy = authority("testbed-front-proxy-ca")?;
        for (name, issuer) in [
            ("ca", &new.clients),
            ("etcd-ca", &etcd),
            ("front-proxy-ca", &front_proxy),
        ] {
            files::write_private(&new.file(name, "crt"), issuer.pem())?;
        }
        // The controller manager signs certificate requests with it.
        files::write_private(&new.file("ca", "key"), new.clients.key().serialize_pem())?;

        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        new.write(
            "apiserver",
            &serving(
                &new.clients,
                "kube-apiserver",
                &names,
                &[Ipv4Addr::LOCALHOST, service_ip],
            )?,
        )?;
        new.write(
            "etcd",
            &serving(&etcd, "etcd", &["localhost"], &[Ipv4Addr::LOCALHOST])?,
        )?;
        new.write(
            "etcd-client",
            &client(&etcd, "kube-apiserver-etcd-client", &[])?,
        )?;
        new.write(
            "front-proxy-client",
            &client(&front_proxy, "front-proxy-client", &[])?,
        )?;
        new.write(
            "apiserver-kubelet-client",
            &new.client("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"])?,
        )?;

        let service_accounts = KeyPair::generate()?;
        files::write_private(&new.file("sa", "key"), service_accounts.serialize_pem())?;
        files::write_private(&new.file("sa", "pub"), service_accounts.public_key_pem())?;
        Ok(new)
    }

    /// The path of a file: `ca`, `crt` → `…/pki/ca.crt`.
    pub(crate) fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}.{kind}"))
    }

    /// The certificate of the authority that clients trust, as PEM.
    pub(crate) fn ca(&self) -> String {
        self.clients.pem()
    }

    /// A certificate for a user and groups.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        client(&self.clients, user, groups)
    }

    fn write(&self, name: &str, identity: &Identity) -> Result<()> {
        files::write_private(&self.file(name, "crt"), &identity.cert)?;
        files::write_private(&self.file(name, "key"), &identity.key)
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn client(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    user: &str,
    groups: &[&str],
) -> Result<Identity> {
    let mut params = params(user, groups);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(issuer, &params)
}

/// Also good as a client: etcd's member speaks to itself with its serving certificate.
fn serving(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    hosts: &[&str],
    addresses: &[Ipv4Addr],
) -> Result<Identity> {
    let mut params = params(name, &[]);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    for host in hosts {
        params
            .subject_alt_names
            .push(SanType::DnsName((*host).try_into()?));
    }
    params.subject_alt_names.extend(
        addresses
            .iter()
            .map(|address| SanType::IpAddress(IpAddr::V4(*address))),
    );
    sign(issuer, &params)
}

fn params(name: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    // A testbed lives for hours, but the clock of the machine may be anything.
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2070, 1, 1));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *group);
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

fn sign(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    params: &CertificateParams,
) -> Result<Identity> {
    let key = KeyPair::generate()?;
    Ok(Identity {
        cert: params.signed_by(&key, issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_that_the_programs_read_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(dir.path(), Ipv4Addr::new(10, 96, 0, 1)).unwrap();
        let pairs = [
            "ca",
            "apiserver",
            "etcd",
            "etcd-client",
            "front-proxy-client",
            "apiserver-kubelet-client",
        ];
        for file in pairs
            .map(|name| pki.file(name, "crt"))
            .iter()
            .chain(&pairs.map(|name| pki.file(name, "key")))
        {
            assert!(
                std::fs::read_to_string(file)
                    .unwrap()
                    .starts_with("-----BEGIN "),
                "{}",
                file.display()
            );
        }
        assert!(
            std::fs::read_to_string(pki.file("sa", "key"))
                .unwrap()
                .contains("PRIVATE KEY")
        );
        assert!(
            std::fs::read_to_string(pki.file("sa", "pub"))
                .unwrap()
                .contains("PUBLIC KEY")
        );
    }
}
