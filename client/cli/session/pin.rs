//! The command that presents a typed PIN (VERIFY, ISO/IEC 7816-4:2013 §11.5.6).

use zeroize::Zeroizing;

use crate::{
    apdu::application::Application,
    script::{PinRequest, Sent},
};

/// The longest PIN, in bytes.
const MAX_LENGTH: usize = 64;

/// The form of a PIN: its reference (P2), and the length to which it is padded with `FF`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) reference: u8,
    length: Option<u8>,
}

impl Form {
    /// The form that is asked for, else that of the selected application's PIN, else reference 80 without padding.
    pub(super) fn of(request: PinRequest, selected: Option<&Application>) -> Self {
        let (reference, length) = match selected.map(|application| application.name) {
            // NIST SP 800-73-4 part 2 §2.4.3: eight bytes, padded with FF.
            Some("piv") => (0x80, Some(8)),
            // OpenPGP smart card application 3.4 §7.2.2: PW1 for other commands than signatures, as it is.
            Some("openpgp") => (0x82, None),
            _ => (0x80, None),
        };
        Self { reference: request.reference.unwrap_or(reference), length: request.length.or(length) }
    }

    /// The VERIFY of a typed PIN; `None` for an empty one, which would ask for the number of tries.
    ///
    /// # Errors
    /// The reason, without the PIN, if it is too long.
    pub(super) fn verify(self, typed: &str) -> Result<Option<Sent>, String> {
        let pin = typed.trim_end_matches(['\r', '\n']).as_bytes();
        let padded = self.length.map_or(pin.len(), usize::from);
        if pin.is_empty() {
            return Ok(None);
        }
        if pin.len() > padded || padded > MAX_LENGTH {
            return Err(format!("a PIN with this reference has at most {} bytes", padded.min(MAX_LENGTH)));
        }
        let length = u8::try_from(padded).map_err(|error| error.to_string())?;
        let mut data = Zeroizing::new(vec![0xFF; padded]);
        data[..pin.len()].copy_from_slice(pin);
        let apdu = cardbroker_client::ApduBytes::concat([&[0x00, 0x20, 0x00, self.reference, length], &data]);
        Ok(Some(Sent { apdu, expected: None }))
    }
}

#[cfg(test)]
mod tests {
    use cardbroker_client::hex;

    use super::*;
    use crate::apdu::application::named;

    fn sent(form: Form, pin: &str) -> Option<String> {
        form.verify(pin).unwrap().map(|sent| hex::format(&sent.apdu))
    }

    #[test]
    fn a_pin_has_the_form_of_the_selected_application() {
        let unknown = Form::of(PinRequest::default(), None);
        assert_eq!(sent(unknown, "123456\n").as_deref(), Some("0020008006313233343536"));
        let piv = Form::of(PinRequest::default(), named("piv"));
        assert_eq!(sent(piv, "123456").as_deref(), Some("0020008008313233343536FFFF"));
        let openpgp = Form::of(PinRequest::default(), named("openpgp"));
        assert_eq!(sent(openpgp, "123456").as_deref(), Some("0020008206313233343536"));
        let admin = Form::of(PinRequest { reference: Some(0x83), length: Some(10) }, named("openpgp"));
        assert_eq!(sent(admin, "12345678").as_deref(), Some("002000830A3132333435363738FFFF"));
    }

    #[test]
    fn an_empty_or_too_long_pin_is_not_sent() {
        let piv = Form::of(PinRequest::default(), named("piv"));
        assert_eq!(sent(piv, ""), None);
        assert_eq!(piv.verify("123456789").unwrap_err(), "a PIN with this reference has at most 8 bytes");
        let unknown = Form::of(PinRequest::default(), None);
        assert!(unknown.verify(&"1".repeat(65)).is_err());
    }
}
