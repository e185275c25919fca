// Waits for a card, selects its application and reads a record, as one unit.
#include <cardbroker.h>
#include <stdio.h>

int main(void) {
    static const uint8_t select[] = {0x00, 0xA4, 0x04, 0x00, 0x06, 0xF0, 'C', 'A', 'R', 'D', 0x01};
    static const uint8_t read[] = {0x00, 0xB2, 0x01, 0x04, 0x10};
    cardbroker_client *client = NULL;
    cardbroker_answers *answers = NULL;
    cardbroker_error *error = NULL;
    cardbroker_commands *unit = cardbroker_commands_new();
    cardbroker_turn_options *options = cardbroker_turn_options_new();

    cardbroker_turn_options_set_card(options, CARDBROKER_CARD_REQUIREMENT_AWAITED);
    cardbroker_commands_add_apdu(unit, select, sizeof select);
    cardbroker_commands_add_apdu(unit, read, sizeof read);
    if (cardbroker_connect(NULL, &client, &error) == CARDBROKER_CODE_OK &&
        cardbroker_transmit(client, "Simulated Reader 00", unit, options, &answers, &error) == CARDBROKER_CODE_OK) {
        size_t length = 0;
        const uint8_t *record = cardbroker_answers_data(answers, 1, &length);
        printf("%.*s %04X\n", (int)length, (const char *)record, cardbroker_answers_status_word(answers, 1));
    }
    const int failed = error != NULL;
    if (failed) {
        fprintf(stderr, "%s (%s)\n", cardbroker_error_message(error), cardbroker_error_reason_name(error));
    }
    cardbroker_error_free(error);
    cardbroker_answers_free(answers);
    cardbroker_turn_options_free(options);
    cardbroker_commands_free(unit);
    cardbroker_client_free(client);
    return failed;
}
