// What DICOM headers say, put into the form where it is empty and beside it where it differs. The
// server's look read them, by the rules of a submission.
"use strict";

(() => {
  const submit = window.BcwebSubmit;
  const NAMES = {
    patient_id: gettext("patient id"),
    patient_issuer: gettext("issuer of the patient id"),
    patient_name: gettext("name"),
    birth_date: gettext("date of birth"),
    sex: gettext("sex"),
    accession_number: gettext("accession number"),
    accession_issuer: gettext("issuer of the accession number"),
    laterality: gettext("side"),
  };
  const NOTHING = { laterality: "unknown" };
  const WORDS = { sex: { F: gettext("Female"), M: gettext("Male"), O: gettext("Other") }, laterality: { L: gettext("Left"), R: gettext("Right"), B: gettext("Both") } };
  // What was put in here, by field: only that is taken out again.
  const filled = new Map();
  const byId = (id) => document.getElementById(id);
  const form = () => byId("submit-form");

  const valueOf = (name) => {
    const field = form().elements[name];
    return field ? field.value.trim() : "";
  };
  const isEmpty = (name) => valueOf(name) === (NOTHING[name] || "");
  const inWords = (name, value) => (WORDS[name] && WORDS[name][value]) || value;

  function put(name, value) {
    const field = form().elements[name];
    if (!field) return;
    if (field instanceof RadioNodeList) {
      for (const choice of field) choice.checked = choice.value === value;
    } else {
      field.value = value;
    }
  }

  function told(name) {
    const said = new Map();
    for (const { told: answer, file } of submit.items) {
      const value = answer && answer.header && answer.header[name];
      if (value && !said.has(value)) said.set(value, file.name);
    }
    return said;
  }

  function note(name, words, { differs = false, take = null } = {}) {
    const field = byId(name);
    const place = field && field.closest(".field");
    if (!place) return;
    let line = byId(`${name}-header`);
    if (!words) {
      if (line) line.remove();
      describe(field, name, false);
      return;
    }
    if (!line) {
      line = document.createElement("p");
      line.id = `${name}-header`;
      place.append(line);
    }
    // Drawn anew only where it says something else: a press on its button leaves the field before,
    // which asks for all this, and the button must still be there when it is let go.
    const said = `${words} ${take}`;
    if (line.dataset.said === said) return;
    line.dataset.said = said;
    line.className = differs ? "header-note differs" : "header-note";
    line.textContent = words;
    if (take !== null) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button quiet small";
      button.textContent = gettext("Use the header's");
      button.setAttribute("aria-label", interpolate(gettext("Use the header's %s"), [NAMES[name]]));
      button.addEventListener("click", () => {
        put(name, take);
        filled.set(name, take);
        update();
        (field.matches("fieldset") ? field.querySelector("input:checked") || field : field).focus();
      });
      line.append(" ", button);
    }
    describe(field, name, true);
  }

  function describe(field, name, on) {
    const ids = new Set((field.getAttribute("aria-describedby") || "").split(" ").filter(Boolean));
    if (on) ids.add(`${name}-header`);
    else ids.delete(`${name}-header`);
    if (ids.size) field.setAttribute("aria-describedby", [...ids].join(" "));
    else field.removeAttribute("aria-describedby");
  }

  function bring(name, each) {
    const said = each ? new Map() : told(name);
    const [value, file] = said.size === 1 ? [...said][0] : ["", ""];
    if (filled.has(name) && valueOf(name) === filled.get(name) && value !== filled.get(name)) {
      // What the header of a file that is gone had put here.
      put(name, NOTHING[name] || "");
      filled.delete(name);
    }
    if (said.size === 0) return note(name, "");
    if (said.size > 1) {
      const list = [...said].slice(0, 3).map(([one, from]) => `${inWords(name, one)} (${from})`).join(", ");
      const words = interpolate(gettext("The headers disagree: %s. Submit the files of each examination separately."), [list]);
      // Two sides of one examination are no contradiction.
      return note(name, name === "laterality" ? "" : words, { differs: true });
    }
    if (isEmpty(name)) {
      put(name, value);
      filled.set(name, value);
    }
    if (valueOf(name) === value) {
      return note(name, filled.has(name) ? interpolate(gettext("From the DICOM header of %s."), [file]) : "");
    }
    return note(name, interpolate(gettext("The DICOM header of %s says %s."), [file, inWords(name, value)]), { differs: true, take: value });
  }

  // Of one case each: what a file's own header says stands beside the file.
  function beside(item, each) {
    const header = item.told && item.told.header;
    let line = item.element.querySelector(".file-header");
    if (!each || !item.told || !item.told.ok) {
      if (line) line.remove();
      return;
    }
    if (!line) {
      line = document.createElement("span");
      item.element.append(line);
    }
    const differs = Object.keys(NAMES).filter(
      (name) => name !== "patient_name" && name !== "sex" && header && header[name] && !isEmpty(name) && valueOf(name) !== header[name],
    );
    line.className = differs.length ? "file-header differs" : "file-header muted";
    if (differs.length) {
      line.textContent = interpolate(gettext("Its header differs from the form: %s."), [differs.map((name) => NAMES[name]).join(", ")]);
    } else if (header && header.patient_id) {
      const parts = [header.patient_id, header.patient_name, header.birth_date, header.accession_number];
      line.textContent = interpolate(gettext("Header: %s"), [parts.filter(Boolean).join(" · ")]);
    } else {
      line.textContent = isEmpty("patient_id")
        ? gettext("Names no patient: enter the patient id below.")
        : interpolate(gettext("Names no patient: patient %s of the form."), [valueOf("patient_id")]);
    }
  }

  function update() {
    const each = submit.each();
    for (const name of Object.keys(NAMES)) bring(name, each);
    for (const item of submit.items) beside(item, each);
    const number = told("accession_number");
    if (each && !isEmpty("accession_number") && !number.size) {
      note("accession_number", gettext("With one number all files would be one case. Leave it empty, or submit them as one case."), { differs: true });
    }
  }

  // A field somebody writes in is theirs from then on.
  document.addEventListener("change", (event) => {
    if (!event.target.form || event.target.form.id !== "submit-form") return;
    const { name } = event.target;
    if (!(name in NAMES)) return;
    if (valueOf(name) !== filled.get(name)) filled.delete(name);
    update();
  });

  submit.each = () => {
    const chosen = document.querySelector("#cases-choice input:checked");
    return submit.items.length > 1 && Boolean(chosen) && chosen.value === "each";
  };
  submit.listeners.push(update);
})();
