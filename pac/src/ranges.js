// The functions for PAC files that are about days, dates and hours.
//
// Each compares the present time with a range, whose two ends belong to it. Times are lists of numbers, the largest unit
// first. A range whose end is before its start wraps around the end of the week, the year or the day.
(function (global, native) {
  var DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
  var MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

  // Splits arguments into the present time and the rest, by a last argument "GMT".
  function split(list) {
    list = Array.prototype.slice.call(list);
    var isGmt = list[list.length - 1] === "GMT", now = new Date(native.now());
    if (isGmt) list.pop();
    function get(unit) { return isGmt ? now["getUTC" + unit]() : now["get" + unit](); }
    return { get: get, list: list };
  }

  function compare(one, other) {
    for (var index = 0; index < one.length; index += 1) {
      if (one[index] !== other[index]) return one[index] < other[index] ? -1 : 1;
    }
    return 0;
  }

  function isBetween(start, now, end) {
    var isAfter = compare(start, now) <= 0, isBefore = compare(now, end) <= 0;
    return compare(start, end) <= 0 ? isAfter && isBefore : isAfter || isBefore;
  }

  function indexIn(names, name) {
    return names.indexOf(String(name).toUpperCase());
  }

  global.weekdayRange = function () {
    var given = split(arguments), list = given.list;
    if (list.length < 1 || list.length > 2) return false;
    var start = indexIn(DAYS, list[0]), end = indexIn(DAYS, list[list.length - 1]);
    return start >= 0 && end >= 0 && isBetween([start], [given.get("Day")], [end]);
  };

  // Returns the unit and the value of an argument of `dateRange`, or null if it is not a day, a month or a year.
  function dated(argument) {
    var number = Number(argument);
    if (number >= 1 && number <= 31) return { unit: "Date", value: number };
    if (number > 31) return { unit: "FullYear", value: number };
    var month = indexIn(MONTHS, argument);
    return month < 0 ? null : { unit: "Month", value: month };
  }

  var UNITS = ["FullYear", "Month", "Date"];

  // Returns the units of a list of arguments, the largest first, or null if one of them occurs twice.
  function unitsOf(list) {
    var units = UNITS.filter(function (unit) {
      return list.filter(function (one) { return one.unit === unit; }).length === 1;
    });
    return units.length === list.length ? units : null;
  }

  function values(units, list) {
    return units.map(function (unit) {
      return list.filter(function (one) { return one.unit === unit; })[0].value;
    });
  }

  global.dateRange = function () {
    var given = split(arguments), list = given.list.map(dated), half = list.length / 2;
    if (list.length < 1 || list.indexOf(null) >= 0) return false;
    // If no unit occurs twice, the arguments are one date, otherwise two.
    var start = list, end = list;
    if (unitsOf(list) === null) {
      start = list.slice(0, half);
      end = list.slice(half);
    }
    var units = unitsOf(start);
    if (units === null || String(units) !== String(unitsOf(end))) return false;
    return isBetween(values(units, start), units.map(given.get), values(units, end));
  };

  var CLOCK = ["Hours", "Minutes", "Seconds"];

  global.timeRange = function () {
    var given = split(arguments), list = given.list.map(Number), count = list.length;
    var half = count === 1 ? 1 : count / 2;
    if (count < 1 || count > 6 || half % 1 !== 0 || list.some(isNaN)) return false;
    var now = CLOCK.slice(0, half).map(given.get);
    return isBetween(list.slice(0, half), now, list.slice(count - half));
  };
})
