"""What segments and fields are called (HL7 v2.5.1, ch. 2 to 10), for people who look at a message.

Segments that are not here have numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


def segment_name(segment: str) -> str:
    """The name of a segment, "" if it is not known here."""
    return _SEGMENTS.get(segment, "")


def field_name(segment: str, number: int) -> str:
    """The name of a field, "" if it is not known here."""
    fields = _FIELDS.get(segment, ())
    return fields[number - 1] if 0 < number <= len(fields) else ""


_SEGMENTS: Final[Mapping[str, str]] = {
    "AIG": "Appointment information, general resource",
    "AIL": "Appointment information, location",
    "AIP": "Appointment information, personnel",
    "AIS": "Appointment information, service",
    "AL1": "Patient allergy",
    "BHS": "Batch header",
    "BTS": "Batch trailer",
    "DG1": "Diagnosis",
    "ERR": "Error",
    "EVN": "Event type",
    "FHS": "File header",
    "FT1": "Financial transaction",
    "FTS": "File trailer",
    "IN1": "Insurance",
    "IPC": "Imaging procedure control",
    "MRG": "Merge patient information",
    "MSA": "Message acknowledgement",
    "MSH": "Message header",
    "NK1": "Next of kin",
    "NTE": "Notes and comments",
    "OBR": "Observation request",
    "OBX": "Observation",
    "ORC": "Common order",
    "PD1": "Patient additional demographics",
    "PID": "Patient identification",
    "PV1": "Patient visit",
    "PV2": "Patient visit, additional information",
    "QPD": "Query parameters",
    "QRD": "Query definition, original style",
    "QRF": "Query filter, original style",
    "RCP": "Response control",
    "RGS": "Resource group",
    "SCH": "Scheduling activity",
    "TQ1": "Timing and quantity",
    "TXA": "Transcription document header",
    "ZDS": "Study Instance UID (IHE)",
}


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in " ".join(text.split()).split(";"))


_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "MSH": _split(
        """Field separator; Encoding characters; Sending application; Sending facility; Receiving application;
        Receiving facility; Date/time of message; Security; Message type; Message control ID; Processing ID; Version ID;
        Sequence number; Continuation pointer; Accept acknowledgement type; Application acknowledgement type; Country code;
        Character set; Principal language of message; Alternate character set handling scheme; Message profile identifier"""
    ),
    "MSA": _split(
        """Acknowledgement code; Message control ID; Text message; Expected sequence number; Delayed acknowledgement type;
        Error condition"""
    ),
    "ERR": _split(
        """Error code and location; Error location; HL7 error code; Severity; Application error code;
        Application error parameter; Diagnostic information; User message; Inform person indicator; Override type;
        Override reason code; Help desk contact point"""
    ),
    "EVN": _split(
        """Event type code; Recorded date/time; Date/time planned event; Event reason code; Operator ID; Event occurred;
        Event facility"""
    ),
    "PID": _split(
        """Set ID; Patient ID; Patient identifier list; Alternate patient ID; Patient name; Mother's maiden name;
        Date/time of birth; Administrative sex; Patient alias; Race; Patient address; County code; Phone number, home;
        Phone number, business; Primary language; Marital status; Religion; Patient account number; SSN number;
        Driver's licence number; Mother's identifier; Ethnic group; Birth place; Multiple birth indicator; Birth order;
        Citizenship; Veterans military status; Nationality; Patient death date and time; Patient death indicator;
        Identity unknown indicator; Identity reliability code; Last update date/time; Last update facility; Species code;
        Breed code; Strain; Production class code; Tribal citizenship"""
    ),
    "PD1": _split(
        """Living dependency; Living arrangement; Patient primary facility; Patient primary care provider; Student indicator;
        Handicap; Living will code; Organ donor code; Separate bill; Duplicate patient; Publicity code; Protection indicator;
        Protection indicator effective date; Place of worship; Advance directive code; Immunization registry status;
        Immunization registry status effective date; Publicity code effective date; Military branch; Military rank or grade;
        Military status"""
    ),
    "NK1": _split(
        """Set ID; Name; Relationship; Address; Phone number; Business phone number; Contact role; Start date; End date;
        Next of kin job title; Next of kin job code; Next of kin employee number; Organization name; Marital status;
        Administrative sex; Date/time of birth; Living dependency; Ambulatory status; Citizenship; Primary language;
        Living arrangement; Publicity code; Protection indicator; Student indicator; Religion; Mother's maiden name;
        Nationality; Ethnic group; Contact reason; Contact person's name; Contact person's telephone number;
        Contact person's address; Next of kin's identifiers; Job status; Race; Handicap; Contact person's SSN;
        Next of kin birth place; VIP indicator"""
    ),
    "PV1": _split(
        """Set ID; Patient class; Assigned patient location; Admission type; Preadmit number; Prior patient location;
        Attending doctor; Referring doctor; Consulting doctor; Hospital service; Temporary location; Preadmit test indicator;
        Re-admission indicator; Admit source; Ambulatory status; VIP indicator; Admitting doctor; Patient type; Visit number;
        Financial class; Charge price indicator; Courtesy code; Credit rating; Contract code; Contract effective date;
        Contract amount; Contract period; Interest code; Transfer to bad debt code; Transfer to bad debt date;
        Bad debt agency code; Bad debt transfer amount; Bad debt recovery amount; Delete account indicator;
        Delete account date; Discharge disposition; Discharged to location; Diet type; Servicing facility; Bed status;
        Account status; Pending location; Prior temporary location; Admit date/time; Discharge date/time;
        Current patient balance; Total charges; Total adjustments; Total payments; Alternate visit ID; Visit indicator;
        Other healthcare provider"""
    ),
    "PV2": _split(
        """Prior pending location; Accommodation code; Admit reason; Transfer reason; Patient valuables;
        Patient valuables location; Visit user code; Expected admit date/time; Expected discharge date/time;
        Estimated length of inpatient stay; Actual length of inpatient stay; Visit description; Referral source code;
        Previous service date; Employment illness related indicator; Purge status code; Purge status date;
        Special program code; Retention indicator; Expected number of insurance plans; Visit publicity code;
        Visit protection indicator; Clinic organization name; Patient status code; Visit priority code;
        Previous treatment date; Expected discharge disposition; Signature on file date; First similar illness date;
        Patient charge adjustment code; Recurring service code; Billing media code; Expected surgery date and time;
        Military partnership code; Military non-availability code; Newborn baby indicator; Baby detained indicator;
        Mode of arrival code; Recreational drug use code; Admission level of care code; Precaution code;
        Patient condition code; Living will code; Organ donor code; Advance directive code; Patient status effective date;
        Expected leave of absence return date/time; Expected preadmission testing date/time; Notify clergy code"""
    ),
    "MRG": _split(
        """Prior patient identifier list; Prior alternate patient ID; Prior patient account number; Prior patient ID;
        Prior visit number; Prior alternate visit ID; Prior patient name"""
    ),
    "ORC": _split(
        """Order control; Placer order number; Filler order number; Placer group number; Order status; Response flag;
        Quantity/timing; Parent; Date/time of transaction; Entered by; Verified by; Ordering provider; Enterer's location;
        Call back phone number; Order effective date/time; Order control code reason; Entering organization;
        Entering device; Action by; Advanced beneficiary notice code; Ordering facility name; Ordering facility address;
        Ordering facility phone number; Ordering provider address; Order status modifier;
        Advanced beneficiary notice override reason; Filler's expected availability date/time; Confidentiality code;
        Order type; Enterer authorization mode; Parent universal service identifier"""
    ),
    "OBR": _split(
        """Set ID; Placer order number; Filler order number; Universal service identifier; Priority; Requested date/time;
        Observation date/time; Observation end date/time; Collection volume; Collector identifier; Specimen action code;
        Danger code; Relevant clinical information; Specimen received date/time; Specimen source; Ordering provider;
        Order callback phone number; Placer field 1; Placer field 2; Filler field 1; Filler field 2;
        Results report/status change date/time; Charge to practice; Diagnostic service section ID; Result status;
        Parent result; Quantity/timing; Result copies to; Parent; Transportation mode; Reason for study;
        Principal result interpreter; Assistant result interpreter; Technician; Transcriptionist; Scheduled date/time;
        Number of sample containers; Transport logistics of collected sample; Collector's comment;
        Transport arrangement responsibility; Transport arranged; Escort required; Planned patient transport comment;
        Procedure code; Procedure code modifier; Placer supplemental service information;
        Filler supplemental service information; Medically necessary duplicate procedure reason; Result handling;
        Parent universal service identifier"""
    ),
    "OBX": _split(
        """Set ID; Value type; Observation identifier; Observation sub-ID; Observation value; Units; References range;
        Abnormal flags; Probability; Nature of abnormal test; Observation result status; Effective date of reference range;
        User defined access checks; Date/time of the observation; Producer's ID; Responsible observer; Observation method;
        Equipment instance identifier; Date/time of the analysis; Reserved; Reserved; Reserved; Performing organization name;
        Performing organization address; Performing organization medical director"""
    ),
    "NTE": _split("Set ID; Source of comment; Comment; Comment type"),
    "TQ1": _split(
        """Set ID; Quantity; Repeat pattern; Explicit time; Relative time and units; Service duration; Start date/time;
        End date/time; Priority; Condition text; Text instruction; Conjunction; Occurrence duration; Total occurrences"""
    ),
    "ZDS": _split("Study Instance UID"),
    "SCH": _split(
        """Placer appointment ID; Filler appointment ID; Occurrence number; Placer group number; Schedule ID; Event reason;
        Appointment reason; Appointment type; Appointment duration; Appointment duration units;
        Appointment timing quantity; Placer contact person; Placer contact phone number; Placer contact address;
        Placer contact location; Filler contact person; Filler contact phone number; Filler contact address;
        Filler contact location; Entered by person; Entered by phone number; Entered by location;
        Parent placer appointment ID; Parent filler appointment ID; Filler status code; Placer order number;
        Filler order number"""
    ),
    "RGS": _split("Set ID; Segment action code; Resource group ID"),
    "AIS": _split(
        """Set ID; Segment action code; Universal service identifier; Start date/time; Start date/time offset;
        Start date/time offset units; Duration; Duration units; Allow substitution code; Filler status code;
        Placer supplemental service information; Filler supplemental service information"""
    ),
    "AIG": _split(
        """Set ID; Segment action code; Resource ID; Resource type; Resource group; Resource quantity;
        Resource quantity units; Start date/time; Start date/time offset; Start date/time offset units; Duration;
        Duration units; Allow substitution code; Filler status code"""
    ),
    "AIL": _split(
        """Set ID; Segment action code; Location resource ID; Location type; Location group; Start date/time;
        Start date/time offset; Start date/time offset units; Duration; Duration units; Allow substitution code;
        Filler status code"""
    ),
    "AIP": _split(
        """Set ID; Segment action code; Personnel resource ID; Resource type; Resource group; Start date/time;
        Start date/time offset; Start date/time offset units; Duration; Duration units; Allow substitution code;
        Filler status code"""
    ),
    "IPC": _split(
        """Accession identifier; Requested procedure ID; Study Instance UID; Scheduled procedure step ID; Modality;
        Protocol code; Scheduled station name; Scheduled procedure step location; Scheduled station AE title"""
    ),
    "TXA": _split(
        """Set ID; Document type; Document content presentation; Activity date/time; Primary activity provider;
        Origination date/time; Transcription date/time; Edit date/time; Originator; Assigned document authenticator;
        Transcriptionist; Unique document number; Parent document number; Placer order number; Filler order number;
        Unique document file name; Document completion status; Document confidentiality status;
        Document availability status; Document storage status; Document change reason;
        Authentication person, time stamp; Distributed copies"""
    ),
    "FT1": _split(
        """Set ID; Transaction ID; Transaction batch ID; Transaction date; Transaction posting date; Transaction type;
        Transaction code; Transaction description; Transaction description, alternate; Transaction quantity;
        Transaction amount, extended; Transaction amount, unit; Department code; Insurance plan ID; Insurance amount;
        Assigned patient location; Fee schedule; Patient type; Diagnosis code; Performed by; Ordered by; Unit cost;
        Filler order number; Entered by; Procedure code; Procedure code modifier; Advanced beneficiary notice code;
        Medically necessary duplicate procedure reason; NDC code; Payment reference ID; Transaction reference key"""
    ),
    "IN1": _split(
        """Set ID; Insurance plan ID; Insurance company ID; Insurance company name; Insurance company address;
        Insurance company contact person; Insurance company phone number; Group number; Group name;
        Insured's group employer ID; Insured's group employer name; Plan effective date; Plan expiration date;
        Authorization information; Plan type; Name of insured; Insured's relationship to patient; Insured's date of birth;
        Insured's address; Assignment of benefits; Coordination of benefits; Coordination of benefits priority;
        Notice of admission flag; Notice of admission date; Report of eligibility flag; Report of eligibility date;
        Release information code; Pre-admit certificate; Verification date/time; Verification by; Type of agreement code;
        Billing status; Lifetime reserve days; Delay before lifetime reserve day; Company plan code; Policy number;
        Policy deductible; Policy limit, amount; Policy limit, days; Room rate, semi-private; Room rate, private;
        Insured's employment status; Insured's administrative sex; Insured's employer's address; Verification status;
        Prior insurance plan ID; Coverage type; Handicap; Insured's ID number; Signature code; Signature code date;
        Insured's birth place; VIP indicator"""
    ),
    "AL1": _split(
        """Set ID; Allergen type code; Allergen code; Allergy severity code; Allergy reaction code; Identification date"""
    ),
    "DG1": _split(
        """Set ID; Diagnosis coding method; Diagnosis code; Diagnosis description; Diagnosis date/time; Diagnosis type;
        Major diagnostic category; Diagnostic related group; DRG approval indicator; DRG grouper review code; Outlier type;
        Outlier days; Outlier cost; Grouper version and type; Diagnosis priority; Diagnosing clinician;
        Diagnosis classification; Confidential indicator; Attestation date/time; Diagnosis identifier;
        Diagnosis action code"""
    ),
    "QPD": _split("Message query name; Query tag; User parameters"),
    "RCP": _split(
        """Query priority; Quantity limited request; Response modality; Execution and delivery time; Modify indicator;
        Sort-by field; Segment group inclusion"""
    ),
    "QRD": _split(
        """Query date/time; Query format code; Query priority; Query ID; Deferred response type;
        Deferred response date/time; Quantity limited request; Who subject filter; What subject filter;
        What department data code; What data code value qualifier; Query results level"""
    ),
    "QRF": _split(
        """Where subject filter; When data start date/time; When data end date/time; What user qualifier;
        Other query subject filter; Which date/time qualifier; Which date/time status qualifier;
        Date/time selection qualifier; When quantity/timing qualifier; Search confidence threshold"""
    ),
    "FHS": _split(
        """File field separator; File encoding characters; File sending application; File sending facility;
        File receiving application; File receiving facility; File creation date/time; File security; File name;
        File header comment; File control ID; Reference file control ID"""
    ),
    "BHS": _split(
        """Batch field separator; Batch encoding characters; Batch sending application; Batch sending facility;
        Batch receiving application; Batch receiving facility; Batch creation date/time; Batch security; Batch name;
        Batch comment; Batch control ID; Reference batch control ID"""
    ),
    "BTS": _split("Batch message count; Batch comment; Batch totals"),
    "FTS": _split("File batch count; File trailer comment"),
}
