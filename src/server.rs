//! Assembly of a member and its doors.
