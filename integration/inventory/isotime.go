package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// isoTime are the forms of ISO 8601 for an instant: a date (of the calendar, the week or the year), a
// time with as many parts as it has, and an offset from UTC, each in the basic or the extended form.
var isoTime = regexp.MustCompile(`^(\d{4})(?:-?(\d\d)-?(\d\d)|-?W(\d\d)-?([1-7])|-?(\d{3}))` +
	`[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d))?)?(?:[.,](\d+))?` +
	`(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?$`)

// The groups of isoTime.
const (
	isoYear = iota + 1
	isoMonth
	isoDay
	isoWeek
	isoWeekday
	isoYearDay
	isoHour
	isoMinute
	isoSecond
	isoFraction
	isoZulu
	isoSign
	isoOffsetHour
	isoOffsetMinute
)

const isoAllowed = "allowed is an ISO 8601 time with its offset from UTC, such as 2026-01-02T03:04:05Z or 2026-01-02T03:04:05.678+0100"

// parseTime reads an ISO 8601 date and time with an offset from UTC. Without an offset it is refused: it
// would name an hour of some place. A fraction is of the last part there is, and cut to nanoseconds;
// 24:00 and second 60 are those after them.
func parseTime(text string) (time.Time, error) {
	m := isoTime.FindStringSubmatch(strings.ReplaceAll(text, "\u2212", "-")) // ISO 8601 takes the minus sign too
	switch {
	case m == nil:
		return time.Time{}, fmt.Errorf("it is %.40q: %s", text, isoAllowed)
	case m[isoZulu] == "" && m[isoSign] == "":
		return time.Time{}, fmt.Errorf("it is %.40q, without an offset: %s", text, isoAllowed)
	}
	n := func(group int) int {
		value, _ := strconv.Atoi(m[group]) // some digits, or none
		return value
	}
	day, err := isoDate(m, n)
	hour, minute, second := n(isoHour), n(isoMinute), n(isoSecond)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("it is %.40q: %w", text, err)
	case hour > 24 || minute > 59 || second > 60 || n(isoOffsetHour) > 23 || n(isoOffsetMinute) > 59:
		return time.Time{}, fmt.Errorf("it is %.40q, which no clock shows: %s", text, isoAllowed)
	}
	unit := time.Second
	switch {
	case m[isoMinute] == "":
		unit = time.Hour
	case m[isoSecond] == "":
		unit = time.Minute
	}
	since := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second + fraction(m[isoFraction], unit)
	if hour == 24 && since > 24*time.Hour {
		return time.Time{}, fmt.Errorf("it is %.40q, which no clock shows: %s", text, isoAllowed)
	}
	offset := time.Duration(n(isoOffsetHour))*time.Hour + time.Duration(n(isoOffsetMinute))*time.Minute
	if m[isoSign] == "-" {
		offset = -offset
	}
	at := day.Add(since - offset)
	if year := at.Year(); year < 1 || year > 9999 || at.IsZero() {
		return time.Time{}, fmt.Errorf("it is %.40q: allowed are the years 1 to 9999", text)
	}
	return at, nil
}

// isoDate is the day of a match, at midnight UTC.
func isoDate(m []string, n func(int) int) (time.Time, error) {
	year := n(isoYear)
	day := time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case m[isoMonth] != "":
		day = time.Date(year, time.Month(n(isoMonth)), n(isoDay), 0, 0, 0, 0, time.UTC)
		if day.Year() != year || day.Month() != time.Month(n(isoMonth)) {
			return day, errors.New("there is no such day")
		}
	case m[isoWeek] != "":
		// Week 1 is that of January 4; Monday is its first day.
		fourth := day.AddDate(0, 0, 3)
		monday := fourth.AddDate(0, 0, -(int(fourth.Weekday())+6)%7)
		day = monday.AddDate(0, 0, 7*(n(isoWeek)-1)+n(isoWeekday)-1)
		if is, week := day.ISOWeek(); is != year || week != n(isoWeek) {
			return day, errors.New("there is no such week")
		}
	default:
		day = day.AddDate(0, 0, n(isoYearDay)-1)
		if day.Year() != year {
			return day, errors.New("there is no such day")
		}
	}
	return day, nil
}

// fraction is the decimal fraction of a unit that digits name, cut to nanoseconds.
func fraction(digits string, unit time.Duration) time.Duration {
	var sum time.Duration
	for _, digit := range digits {
		if unit /= 10; unit == 0 {
			break
		}
		sum += time.Duration(digit-'0') * unit
	}
	return sum
}
